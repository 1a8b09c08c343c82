"""Strict comparison of trees: every path, shape and dtype, or a list of what differs.

Containers do not matter, paths do: a flat dict `{path: leaf}` equals the tree it came
from. Holes (`None`) are no leaves.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from tl_jax.tree import nearest, path_of

HINTS = 10
"""So many missing paths get a nearest name; a search for each would be quadratic."""
SHOWN = 12
"""So many differences of a kind stand in a message."""


class TreeMismatch(ValueError):
    """Two trees differ; `differences` holds one line for each difference."""

    def __init__(self, title: str, differences: Iterable[str]):
        self.differences = list(differences)
        super().__init__(f"{title}\n{_shorten(self.differences)}")


class Spec(NamedTuple):
    """What must agree of a leaf."""

    shape: tuple[int, ...]
    dtype: str


def is_python_number(leaf: Any) -> bool:
    """True for bool, int and float themselves; NumPy's scalars are arrays here."""
    return type(leaf) in (bool, int, float)


def spec_of(leaf: Any) -> Spec:
    """Spec of an array, an abstract array, or a Python number (`python int`)."""
    if is_python_number(leaf):
        return Spec((), f"python {type(leaf).__name__}")
    if not hasattr(leaf, "shape"):
        leaf = np.asarray(leaf)
    return Spec(tuple(leaf.shape), str(leaf.dtype))


def flatten_once(tree: Any) -> dict[str, Any]:
    """`{path: leaf}`; raises ValueError where two leaves have one path."""
    flat: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = path_of(keys)
        if path in flat:
            raise ValueError(
                f"two leaves share the path {path!r}: a name with a '/' in it clashes "
                "with a nested one"
            )
        flat[path] = leaf
    return flat


def specs_of(tree: Any) -> dict[str, Spec]:
    """`{path: Spec}` of all leaves."""
    return {path: spec_of(leaf) for path, leaf in flatten_once(tree).items()}


def compare(target: Any, saved: Any) -> list[str]:
    """All differences between two trees, a line each; empty if there is none.

    Leaves are arrays, abstract arrays or Python numbers; values are not compared.
    Lines begin with `missing` (in target only), `unexpected` (in saved only), `shape`
    or `dtype`.
    """
    return compare_specs(specs_of(target), specs_of(saved))


def compare_specs(target: Mapping[str, Spec], saved: Mapping[str, Spec]) -> list[str]:
    """`compare` of `{path: Spec}`."""
    missing = [path for path in target if path not in saved]
    unexpected = [path for path in saved if path not in target]
    common = [
        (path, spec, saved[path]) for path, spec in target.items() if path in saved
    ]
    lines = [
        f"missing: {path}{_hint(path, unexpected) if i < HINTS else ''}"
        for i, path in enumerate(missing)
    ]
    lines += [f"unexpected: {path}" for path in unexpected]
    lines += [
        f"shape: {path}: expected {_show(want.shape)}, found {_show(found.shape)}"
        for path, want, found in common
        if want.shape != found.shape
    ]
    lines += [
        f"dtype: {path}: expected {want.dtype}, found {found.dtype}"
        for path, want, found in common
        if want.dtype != found.dtype
    ]
    return lines


def _show(shape: tuple[int, ...]) -> str:
    return f"[{' '.join(map(str, shape))}]"


def _hint(path: str, known: list[str]) -> str:
    close = nearest(path, known, 1)
    return f" (nearest: {close[0]})" if close else ""


def _shorten(lines: list[str]) -> str:
    """At most `SHOWN` lines of a kind, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(line.partition(":")[0], []).append(line)
    shown = []
    for kind, group in kinds.items():
        shown += group[:SHOWN]
        if len(group) > SHOWN:
            shown.append(f"{kind}: and {len(group) - SHOWN} more")
    return "\n".join(f"  {line}" for line in shown)
