"""What the families of images share: sizes, heads and pipelines of their configs."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from tl_jax.nn.conv import Form
from tl_jax.pretrained.family import (
    COUNTER,
    DROPPED,
    Unsupported,
    architecture_of,
    refuse,
)
from tl_jax.pretrained.files import did_you_mean
from tl_jax.pretrained.names import Layout, Row, expand, full
from tl_jax.pretrained.preprocess import Preprocess

HEAD = "ForImageClassification"
IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Of the training set of ImageNet, by colour."""
CROPPED = dict(resize=256, crop=(224, 224), fixed=False) | IMAGENET
"""The middle of an image whose short edge is 256, as ResNets are evaluated."""
SUPPORTED = {"quantization_config": (None,)}
COUNTERS = r"(.*\.)?num_batches_tracked"
SHARES = ("rate", "path_rate", "momentum")


def kept_head(config: Mapping[str, Any], classes: str, head: str) -> tuple[str, bool]:
    """(the config's architecture, whether the tree is to have its head).

    `classes` is how the family's architectures begin. Raises `Unsupported` for an
    architecture whose head is not known, unless it is dropped.
    """
    if head not in ("keep", "drop"):
        raise ValueError(f"head={head!r}; {did_you_mean(head, ('keep', 'drop'))}")
    name = architecture_of(config) or f"{classes}Model"
    if name in (f"{classes}Model", f"{classes}{HEAD}"):
        return name, head == "keep" and name.endswith(HEAD)
    if head == "drop" and name.startswith(classes):
        return name, False
    raise Unsupported(
        f"config.json: architectures names {name!r}; known: {classes}Model, "
        f"{classes}{HEAD}; with head='drop' its head is left out"
    )


def sizes(config: Mapping[str, Any], field: str, default: int) -> tuple[int, int]:
    """(height, width) of a number or two; raises `Unsupported` otherwise."""
    found = config.get(field, default)
    given = found if isinstance(found, list) else [found, found]
    if len(given) == 2 and all(type(n) is int and n > 0 for n in given):
        return given[0], given[1]
    raise Unsupported(
        f"config.json: {field} is {found!r}, expected a whole number or two"
    )


def flag(config: Mapping[str, Any], field: str, default: bool = True) -> bool:
    """True or False; raises `Unsupported` otherwise."""
    refuse(config, {field: (default, not default)})
    return config.get(field, default)


def pipeline(size: tuple[int, int], channels: int = 3, **fields: Any) -> Preprocess:
    """The usual pipeline to a size; for other than 3 channels about a half."""
    if channels != 3:
        fields |= dict(mean=(0.5,) * channels, std=(0.5,) * channels)
    return Preprocess(**dict(size=size, resize=size, channels=channels) | fields)


def unit(sites: tuple[str, str], modules: tuple[str, str]) -> list[Row]:
    """The rows of a convolution and the norm behind it."""
    return [(sites[0], modules[0], "conv"), (sites[1], modules[1], "batch")]


def checked(**options: Any) -> dict[str, Any]:
    """Options of convolutional families; raises ValueError for an impossible one."""
    for name in SHARES:
        value = options.get(name, 0)
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not 0 <= value < 1:
            raise ValueError(f"{name}={value!r}, expected a number in [0, 1)")
    groups, form = options.get("norm_groups", 1), options["form"]
    if type(groups) is not int or groups < 1:
        raise ValueError(f"norm_groups={groups!r}, expected a whole number >= 1")
    if form not in get_args(Form):
        raise ValueError(f"form={form!r}; {did_you_mean(str(form), get_args(Form))}")
    return {n: float(v) if n in SHARES else v for n, v in options.items()}


def conv_layout(
    rows: list[Row], prefix: str, head: str, module: str, counter: str = COUNTER
) -> Layout:
    """The layout of a network with batch norms; its output layer is in `module`.

    `counter` says why the counters of batches are left out.
    """
    omit = {COUNTERS: counter}
    if head == "drop":
        omit[rf"{module}\..*"] = DROPPED
    return Layout(expand(rows), prefix, frozenset({module}), omit=omit)


def counters(layout: Layout, bare: bool) -> dict[str, np.ndarray]:
    """Zeros for the counters of batches, which transformers misses in a file."""
    means = [n.theirs for n in layout.names if n.theirs.endswith(".running_mean")]
    names = [name.replace("running_mean", "num_batches_tracked") for name in means]
    return {full(name, layout, bare): np.zeros((), np.int64) for name in names}
