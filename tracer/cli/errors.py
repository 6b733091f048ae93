"""Errors in a command line."""

from __future__ import annotations


class CommandError(Exception):
    """An error in the request; the message is one line."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


def summary(error: BaseException) -> str:
    """An exception in one line: its type, and the first line of its message."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
