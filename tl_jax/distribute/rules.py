"""Rules that say how leaves lie on a mesh: (path regex, axes of its last dimensions).

The first rule that matches a leaf's path in full holds. A rule reads the end of a path:
`head/kernel` is the kernel, its gradient's average `opt/model/0/state/0/mu/head/kernel`
and whatever else follows the tree. Sites are named alike in all models, so one table
serves them all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import PartitionSpec

from tl_jax.tree import compile_rule, flatten, nearest

Entry = str | tuple[str, ...] | None
Rule = tuple[str, tuple[Entry, ...]]
"""(path, one entry for each of the last dimensions: an axis, several, or None)."""

RULES: tuple[Rule, ...] = (
    (r"embed/tokens/embedding", ("model", "fsdp")),
    (r".*/embedding", (None, "fsdp")),
    (r".*/attention/(query|key|value)/kernel", ("fsdp", "model")),
    (r".*/attention/(query|key|value)/bias", ("model",)),
    (r".*/attention/output/kernel", ("model", "fsdp")),
    (r".*/mlp/(up|gate)/kernel", ("fsdp", "model")),
    (r".*/mlp/(up|gate)/bias", ("model",)),
    (r".*/mlp/down/kernel", ("model", "fsdp")),
    (r".*/(attention/(query|key|value)|mlp/(up|gate))/patch/.*/b", (None, "model")),
    (r".*/(attention/output|mlp/down)/patch/.*/a", ("model", None)),
    (r".*/kernel", (None, "fsdp")),
)
"""Megatron's columns and rows (Shoeybi et al., 2019) over `model`; over `fsdp` shares
of every large leaf (ZeRO-3; Rajbhandari et al., 2020). All else is on every device."""


class Ruled(NamedTuple):
    """What the rules gave."""

    specs: dict[str, PartitionSpec]
    """Path -> how the leaf lies."""
    unused: tuple[str, ...]
    """Rules that matched nothing."""
    whole: tuple[str, ...]
    """Lines on dimensions that an axis does not divide: they stay whole."""


def apply_rules(rules: Sequence[Rule], tree: Any, axes: Mapping[str, int]) -> Ruled:
    """The spec of every leaf of a tree (arrays or abstract ones) on a mesh's axes.

    A rule speaks of the last dimensions, so it serves stacked blocks too. Axes of size
    1, and dimensions that do not divide, stay whole; a leaf with fewer dimensions than
    its rule names (a scalar moment) lies on every device.

    Raises ValueError for a rule that names an axis which no mesh has, or one twice.
    """
    compiled = [(compile_rule(rf"(?:.*/)?(?:{rule})"), spec) for rule, spec in rules]
    for rule, spec in rules:
        _check(rule, spec, axes)
    used, specs, whole = set(), {}, []
    for path, leaf in flatten(tree).items():
        specs[path] = PartitionSpec()
        for i, (pattern, spec) in enumerate(compiled):
            if pattern.fullmatch(path):
                used.add(i)
                specs[path], lost = _fit(spec, np.shape(leaf), axes)
                whole += [f"{path}: {line}" for line in lost]
                break
    unused = tuple(rule for i, (rule, _) in enumerate(rules) if i not in used)
    return Ruled(specs, unused, tuple(whole))


def _check(rule: str, spec: Sequence[Entry], axes: Mapping[str, int]) -> None:
    named = [axis for entry in spec for axis in _axes(entry)]
    for axis in named:
        if axis not in axes:
            close = ", ".join(nearest(axis, axes))
            raise ValueError(f"rule {rule!r}: no axis {axis!r}; nearest: {close}")
        if named.count(axis) > 1:
            raise ValueError(f"rule {rule!r} names the axis {axis!r} twice")


def _axes(entry: Entry) -> tuple[str, ...]:
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else tuple(entry)


def _fit(
    spec: Sequence[Entry], shape: tuple[int, ...], axes: Mapping[str, int]
) -> tuple[PartitionSpec, list[str]]:
    """The spec of a leaf of a shape, and what had to stay whole."""
    if len(spec) > len(shape):
        return PartitionSpec(), []
    entries: list[Entry] = [None] * (len(shape) - len(spec))
    lost = []
    for size, entry in zip(shape[len(entries) :], spec, strict=True):
        wanted = tuple(axis for axis in _axes(entry) if axes[axis] > 1)
        parts = math.prod(axes[axis] for axis in wanted)
        if size % parts:
            lost.append(f"{size} does not divide by {'*'.join(wanted)}={parts}")
            wanted = ()
        entries.append(wanted[0] if len(wanted) == 1 else wanted or None)
    while entries and entries[-1] is None:
        entries.pop()
    return PartitionSpec(*entries), lost


def describe_rules(ruled: Ruled, tree: Any, axes: Mapping[str, int]) -> str:
    """A table: kinds of leaves, how they lie, and their bytes on one device."""
    rows: dict[str, list[int]] = {}
    for path, leaf in flatten(tree).items():
        spec = ruled.specs[path]
        size = bytes_of(leaf)
        own = size // math.prod(axes[a] for entry in spec for a in _axes(entry))
        line = rows.setdefault(str(spec).replace("PartitionSpec", ""), [0, 0, 0])
        for i, more in enumerate((1, size, own)):
            line[i] += more
    table = ["leaves   MB in all   MB a device   spread over"]
    for name, (count, size, own) in sorted(rows.items(), key=lambda r: -r[1][2]):
        table.append(f"{count:6d} {size / 1e6:11.2f} {own / 1e6:13.2f}   {name}")
    return "\n".join(table)


def bytes_of(leaf: Any) -> int:
    """Bytes of an array, an abstract one, or keys."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return math.prod(np.shape(leaf)) * leaf.dtype.itemsize
