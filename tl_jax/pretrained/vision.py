"""What the families of images share: sizes, heads and pipelines of their configs."""

from collections.abc import Mapping
from typing import Any

from tl_jax.pretrained.family import Unsupported, architecture_of
from tl_jax.pretrained.files import did_you_mean
from tl_jax.pretrained.preprocess import Preprocess

HEAD = "ForImageClassification"
IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Of the training set of ImageNet, by colour."""
SUPPORTED = {"quantization_config": (None,)}


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


def pipeline(size: tuple[int, int], **fields: Any) -> Preprocess:
    """The usual pipeline to a size."""
    return Preprocess(**dict(size=size, resize=size) | fields)
