"""What a kernel is before it is text: statements, loops and branches over named numbers and arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..ir.types import DType


@dataclass
class Let:
    """``name = expression``."""

    name: str
    expression: str


@dataclass
class Store:
    array: str
    offset: str
    value: str


@dataclass
class Loop:
    variable: str
    start: str
    stop: str
    body: list[Any] = field(default_factory=list)


@dataclass
class If:
    condition: str
    then: list[Any]
    otherwise: list[Any]


@dataclass
class Do:
    """An expression evaluated for its effect."""

    expression: str


Statement = Let | Store | Loop | If | Do


@dataclass(frozen=True)
class Array:
    """An operand or result of a kernel: contiguous, in row-major order."""

    name: str
    dtype: DType


@dataclass
class Kernel:
    """A loop nest. ``domain`` is the range to be split: the kernel is called with a part of [0, domain)."""

    arrays: list[Array]
    params: list[str]  # names of the integers that follow the addresses in the argument block
    values: list[int]  # and what they are for the shapes at hand
    body: list[Statement]
    domain: int
    checks: list[tuple[type[Exception], str]]  # what is raised, by site
    grain: int = 1  # the shortest part of the domain that is worth giving away
