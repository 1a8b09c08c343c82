"""A mesh of devices from one line of text: `data=4,model=2`."""

import math
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AxisType, Mesh

from tl_jax.tree import no_match

AXES = ("data", "fsdp", "model")
"""Copies of the weights; shares of weights and batch; shares of products."""
BATCH_AXES = ("data", "fsdp")
"""The axes over which a batch's rows are spread."""


def parse_axes(text: str, devices: int) -> dict[str, int]:
    """Axis -> size, in the order of `AXES`; all others are 1.

    `data`, `fsdp=8`, `data=4,model=2`: one axis may stand without a size, or with -1,
    and takes all devices that the others leave. Empty text is `data`.

    Raises `NoMatch` for an unknown axis, ValueError where sizes and `devices` disagree.
    """
    given: dict[str, int] = {}
    for part in (text or "data").replace(" ", "").split(","):
        name, _, size = part.partition("=")
        if name not in AXES:
            raise no_match("mesh: axis", name, AXES)
        if name in given:
            raise ValueError(f"mesh: axis {name!r} stands twice in {text!r}")
        given[name] = _size(name, size)
    open_axes = [name for name, size in given.items() if size == -1]
    if len(open_axes) > 1:
        raise ValueError(
            f"mesh: {' and '.join(open_axes)} have no size in {text!r}; one may"
        )
    taken = math.prod(size for size in given.values() if size != -1)
    if open_axes and devices % taken == 0:
        given[open_axes[0]] = devices // taken
    found = {name: given.get(name, 1) for name in AXES}
    if math.prod(found.values()) != devices:
        raise ValueError(
            f"mesh: {text!r} asks for {'a multiple of ' * bool(open_axes)}{taken} "
            f"devices, but there are {devices}"
        )
    return found


def mesh_size(text: str) -> int:
    """How many devices a line of axes asks for; 0 where an axis has no size."""
    sizes = [part.partition("=")[2] for part in text.replace(" ", "").split(",")]
    known = all(size.isdecimal() for size in sizes)
    return math.prod(int(size) for size in sizes) if known else 0


def _size(name: str, text: str) -> int:
    if text in ("", "-1"):
        return -1
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            f"mesh: axis {name!r} has size {text!r}, expected a whole number"
        )
    return int(text)


def make_mesh(axes: Mapping[str, int], devices: Sequence | None = None) -> Mesh:
    """A mesh with these axes, laid on the hardware's links where there are any.

    With `devices` they are taken in the given order. Axes are of kind `Auto`: the
    compiler spreads what the layout leaves open.
    """
    names, sizes = tuple(axes), tuple(axes.values())
    kinds = (AxisType.Auto,) * len(names)
    return jax.make_mesh(sizes, names, devices=devices, axis_types=kinds)
