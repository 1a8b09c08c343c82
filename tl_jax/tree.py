"""Paths, matches, partition and merge of nested dicts.

A path is `a/b/c`; a rule is a regular expression that matches a whole path; a rule
that matches nothing raises, with the nearest paths.
"""

import dataclasses
import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, dataclass_transform

import jax
import numpy as np

from tl_jax.types import Key

SEPARATOR = "/"


class NoMatch(ValueError):
    """A rule or a name fits nothing there is."""


def is_none(x: Any) -> bool:
    """True for a hole, for `is_leaf` arguments."""
    return x is None


def path_of(keys: Sequence[Any]) -> str:
    """Key path of `jax.tree_util` as `a/b/c`."""
    return jax.tree_util.keystr(tuple(keys), simple=True, separator=SEPARATOR)


def paths(tree: Any) -> list[str]:
    """Paths of all leaves, in the order of `jax.tree.leaves`; holes are no leaves."""
    return [path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree)]


def flatten(tree: Any) -> dict[str, Any]:
    """`{path: leaf}`; holes are left out."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_of(keys): leaf for keys, leaf in leaves}


def unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts from `{path: leaf}`: the inverse of `flatten` for plain dicts."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split(SEPARATOR)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def map_with_path(f: Callable, tree: Any, *rest: Any, is_leaf=None) -> Any:
    """`jax.tree.map` with the path as first argument."""
    return jax.tree_util.tree_map_with_path(
        lambda keys, *leaves: f(path_of(keys), *leaves), tree, *rest, is_leaf=is_leaf
    )


def sites(tree: Any, path: str = "") -> dict[str, dict]:
    """`{path: dict}` of every sub-dict, the root as `""`; patch nodes are not entered.

    What stands under a site's `patch` is part of that site.
    """
    found = {path: tree}
    for name, child in tree.items():
        if isinstance(child, dict) and name != "patch":
            found |= sites(child, f"{path}{SEPARATOR}{name}" if path else str(name))
    return found


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The `count` known names that look most like `name`."""
    known = [str(k) for k in known]
    plain = re.sub(r"[\\^$*+?()\[\]{}|]|\.(?=\*)", "", name)
    close = difflib.get_close_matches(plain, known, n=count, cutoff=0.0)
    return close


def no_match(kind: str, name: str, known: Iterable[str]) -> NoMatch:
    """The error for a rule without a match; the caller raises it."""
    close = nearest(name, known)
    hint = f"nearest: {', '.join(close)}" if close else "there is none at all"
    return NoMatch(f"{kind} {name!r} matches nothing; {hint}")


def one_of(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise `NoMatch` with the nearest names unless `name` is a known one."""
    known = list(known)
    if name not in known:
        raise no_match(kind, name, known)


def compile_rule(rule: str) -> re.Pattern:
    """A regular expression, or a ValueError that shows it."""
    try:
        return re.compile(rule)
    except re.error as error:
        raise ValueError(f"rule {rule!r} is no regular expression: {error}") from None


def matches(rule: str, known: Iterable[str], kind: str = "rule") -> list[str]:
    """The known paths that `rule` matches in full; raises `NoMatch` if none does."""
    known = list(known)
    pattern = compile_rule(rule)
    found = [path for path in known if pattern.fullmatch(path)]
    if not found:
        raise no_match(kind, rule, known)
    return found


def exactly(known: Iterable[str]) -> str:
    """The rule that matches these paths and no other."""
    return "|".join(map(re.escape, known))


def get(tree: Any, path: str) -> Any:
    """The sub-tree at `path` of nested dicts; `""` is the tree itself."""
    for name in path.split(SEPARATOR) if path else []:
        if not isinstance(tree, dict) or name not in tree:
            known = tree if isinstance(tree, dict) else ()
            raise no_match("path", path, known)
        tree = tree[name]
    return tree


def put(tree: dict, path: str, value: Any) -> dict:
    """A copy of nested dicts with `value` at `path`; shares all other sub-trees."""
    if not path:
        return value
    name, _, rest = path.partition(SEPARATOR)
    return tree | {name: put(tree.get(name, {}), rest, value)}


def drop(tree: dict, path: str) -> dict:
    """A copy of nested dicts without the sub-tree at `path`; emptied dicts go too."""
    name, _, rest = path.partition(SEPARATOR)
    kept = {k: v for k, v in tree.items() if k != name}
    if rest and name in tree and (child := drop(tree[name], rest)):
        kept[name] = child
    return kept


def partition(tree: Any, chosen: Any) -> tuple[Any, Any]:
    """Split into (chosen, rest), with `None` where a leaf went to the other side."""
    yes = jax.tree.map(lambda leaf, c: leaf if c else None, tree, chosen)
    no = jax.tree.map(lambda leaf, c: None if c else leaf, tree, chosen)
    return yes, no


def merge(first: Any, second: Any) -> Any:
    """Fill the holes of one tree with the leaves of the other: undoes `partition`."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, first, second, is_leaf=is_none
    )


def carry(old: Any, new: Any) -> Any:
    """`new` with the leaves of `old` wherever path, shape and dtype agree."""
    known = flatten(old)

    def choose(path: str, leaf: Any) -> Any:
        kept = known.get(path)
        if kept is None or np.shape(kept) != np.shape(leaf):
            return leaf
        return kept if jax.numpy.result_type(kept) == leaf.dtype else leaf

    return map_with_path(choose, new)


def same_bytes(a: Any, b: Any) -> bool:
    """True if two arrays have one shape, one dtype and equal bytes."""
    if a is b:
        return True
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


def diff(tree: Any, base: Any) -> dict[str, Any]:
    """`{path: leaf}` of the leaves whose bytes are not in `base` at the same path."""
    known = flatten(base)
    return {
        path: leaf
        for path, leaf in flatten(tree).items()
        if path not in known or not same_bytes(leaf, known[path])
    }


def count(tree: Any) -> int:
    """Number of scalars in all leaves."""
    return sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(tree))


def copy(tree: Any) -> Any:
    """Fresh buffers for every array, so that a donation takes nobody else's."""
    return jax.tree.map(lambda leaf: jax.numpy.array(leaf, copy=True), tree)


def static(default: Any = dataclasses.MISSING) -> Any:
    """A field of a `node` that is part of the structure, not a leaf."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static,))
def node(cls: type) -> type:
    """Make a frozen dataclass and register it as a tree node.

    Array fields are leaves; those declared by `static()` belong to the structure.
    """
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


def stable_key(key: Key, *names: str) -> Key:
    """`key` folded with a hash of the names.

    The same names give the same key whatever else is drawn, on any machine and in
    any order, so one more transform never changes another's random values.
    """
    for name in names:
        digest = hashlib.sha256(name.encode()).digest()
        key = jax.random.fold_in(key, int.from_bytes(digest[:4], "little"))
    return key
