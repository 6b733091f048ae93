"""Conversion between nested tuples, lists and dicts and flat lists."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "LeafSpec",
    "TreeSpec",
    "keystr",
    "register_pytree_node",
    "tree_all",
    "tree_any",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_is_leaf",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_",
    "tree_map_only",
    "tree_map_with_path",
    "tree_structure",
    "tree_unflatten",
]


@dataclass(frozen=True)
class TreeSpec:
    """The structure of a tree: the type of its root, its context, and the structures of its children."""

    type: Any
    context: Any
    children_specs: tuple[TreeSpec, ...] = field(default_factory=tuple)

    @property
    def num_leaves(self) -> int:
        return 1 if self.type is None else sum(c.num_leaves for c in self.children_specs)

    @property
    def num_children(self) -> int:
        return len(self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree with this structure and the given leaves."""
        return tree_unflatten(leaves, self)


def LeafSpec() -> TreeSpec:
    """The structure of a leaf."""
    return TreeSpec(None, None)


_Flatten = Callable[[Any], tuple[list[Any], Any]]
_Unflatten = Callable[[Iterable[Any], Any], Any]

Context = PyTree = Any


class NodeDef(NamedTuple):
    """How the objects of a class are taken apart and put together again."""

    flatten_fn: _Flatten
    unflatten_fn: _Unflatten


@dataclass(frozen=True)
class MappingKey:
    """A step of a path to a leaf: a key of a mapping."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclass(frozen=True)
class SequenceKey:
    """A step of a path to a leaf: a position."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


def _dict_flatten(d: dict[Any, Any]) -> tuple[list[Any], Any]:
    return list(d.values()), list(d)


def _dict_unflatten(children: Iterable[Any], keys: Any) -> dict[Any, Any]:
    return dict(zip(keys, children, strict=True))


def _dict_flatten_with_keys(d: dict[Any, Any]) -> tuple[list[tuple[MappingKey, Any]], Any]:
    return [(MappingKey(key), value) for key, value in d.items()], list(d)


SUPPORTED_NODES: dict[Any, NodeDef] = {
    tuple: NodeDef(lambda t: (list(t), None), lambda children, _: tuple(children)),
    list: NodeDef(lambda t: (list(t), None), lambda children, _: list(children)),
    dict: NodeDef(_dict_flatten, _dict_unflatten),
    namedtuple: NodeDef(lambda t: (list(t), type(t)), lambda children, cls: cls(*children)),
    OrderedDict: NodeDef(
        lambda d: (list(d.values()), list(d)),
        lambda children, keys: OrderedDict(zip(keys, children, strict=True)),
    ),
    defaultdict: NodeDef(
        lambda d: (list(d.values()), (d.default_factory, list(d))),
        lambda children, c: defaultdict(c[0], zip(c[1], children, strict=True)),
    ),
    deque: NodeDef(lambda d: (list(d), d.maxlen), lambda children, n: deque(children, maxlen=n)),
}


def register_pytree_node(cls: type, flatten_fn: _Flatten, unflatten_fn: _Unflatten, **more: Any) -> None:
    """Registers a class as a tree node: ``flatten_fn(x)`` returns children and a context, ``unflatten_fn`` is the inverse.

    Raises ValueError for a class that is one.
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = NodeDef(flatten_fn, unflatten_fn)


def _get_node_type(tree: Any) -> Any:
    """The class under which the root of a tree is registered; its own if it is a leaf."""
    return namedtuple if isinstance(tree, tuple) and hasattr(tree, "_fields") else type(tree)


def tree_is_leaf(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """True if a tree is a leaf."""
    return (is_leaf is not None and is_leaf(tree)) or _get_node_type(tree) not in SUPPORTED_NODES


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree and its structure."""
    if tree_is_leaf(tree, is_leaf):
        return [tree], LeafSpec()
    kind = _get_node_type(tree)
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    leaves: list[Any] = []
    specs = []
    for child in children:
        found, spec = tree_flatten(child, is_leaf)
        leaves += found
        specs.append(spec)
    return leaves, TreeSpec(kind, context, tuple(specs))


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree with the given structure and leaves. Raises ValueError for a wrong number of leaves."""
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(given)} but the spec refers to a pytree that holds "
            f"{treespec.num_leaves} items"
        )
    it = iter(given)

    def build(spec: TreeSpec) -> Any:
        if spec.type is None:
            return next(it)
        children = [build(c) for c in spec.children_specs]
        return SUPPORTED_NODES[spec.type].unflatten_fn(children, spec.context)

    return build(treespec)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree of a function's results for the leaves of one tree, or of several with the same structure."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = []
    for rest in rests:
        found, other = tree_flatten(rest, is_leaf)
        if other != spec:
            raise ValueError("tree_map: the trees have different structures")
        others.append(found)
    return tree_unflatten([func(*row) for row in zip(leaves, *others, strict=True)], spec)


def tree_flatten_with_path(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[tuple[tuple[Any, ...], Any]], TreeSpec]:
    """The leaves of a tree, each with its path, a tuple of keys; and its structure."""
    found: list[tuple[tuple[Any, ...], Any]] = []

    def visit(part: Any, path: tuple[Any, ...]) -> None:
        if tree_is_leaf(part, is_leaf):
            found.append((path, part))
            return
        children, _ = SUPPORTED_NODES[_get_node_type(part)].flatten_fn(part)
        keys = map(MappingKey, part) if isinstance(part, dict) else map(SequenceKey, range(len(children)))
        for key, child in zip(keys, children, strict=True):
            visit(child, (*path, key))

    visit(tree, ())
    return found, tree_structure(tree, is_leaf)


def tree_leaves_with_path(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[tuple[Any, ...], Any]]:
    """The leaves of a tree, each with its path."""
    return tree_flatten_with_path(tree, is_leaf)[0]


def keystr(path: Iterable[Any]) -> str:
    """A path as the text of indices."""
    return "".join(map(str, path))


def tree_map_with_path(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """``tree_map`` of a function that also gets, as its first argument, the path to the leaf."""
    places, spec = tree_flatten_with_path(tree, is_leaf)
    others = [tree_leaves(rest, is_leaf) for rest in rests]
    return tree_unflatten([func(*place, *row) for place, *row in zip(places, *others, strict=True)], spec)


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Calls a function on the leaves; returns the tree itself."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(kind: Any, func: Callable[[Any], Any], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """``tree_map`` on the leaves of a type, or of one of several, or for which a function is true; others are unchanged."""
    if isinstance(kind, (type, tuple)):
        return tree_map(lambda x: func(x) if isinstance(x, kind) else x, tree, is_leaf=is_leaf)
    return tree_map(lambda x: func(x) if kind(x) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """True if the predicate is true for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """True if the predicate is true for any leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))
