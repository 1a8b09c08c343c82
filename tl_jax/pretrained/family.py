"""What a family of models must say about itself, and strict reading of its config."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tl_jax.pretrained.errors import Unsupported
from tl_jax.pretrained.files import did_you_mean
from tl_jax.pretrained.names import Layout
from tl_jax.types import Model, Pretrained


def unchanged(config: dict[str, Any], pretrained: Pretrained) -> dict[str, Any]:
    """The config as it is."""
    return config


class Recipe(NamedTuple):
    """A model with all that is needed to fill its tree from a file, and back."""

    model: Model
    layout: Layout
    leaves: dict[str, tuple[int, ...]]
    """Path -> shape of every leaf, the head's among them."""
    options: dict[str, Any]
    """What was chosen, defaults filled in; plain values."""
    architecture: str
    bare: bool
    """True for a body without a head, whose names take no prefix."""
    positions: int | None = None
    """The longest input, in tokens; None for a model that reads none."""
    preprocess: Any = None
    """Of a model of images: the `Preprocess` where the folder has none."""


class Reader(NamedTuple):
    """How a family reads a config, and what it calls a tree."""

    recipe: Callable[..., Recipe]
    """`(config, **options) -> Recipe`."""
    architecture: Callable[[Mapping[str, Any], Mapping[str, Any], bool], str]
    """`(config, options, has_head) -> name` of the tree that is to be saved."""
    shaping: tuple[str, ...] = ()
    """The options on which the tree and its names depend."""
    adapt: Callable[[dict[str, Any], Pretrained], dict[str, Any]] = unchanged
    """`(config, pretrained) -> config` where surgery has changed a size."""


DROPPED = "head dropped"
POOLER_UNUSED = "pooler unused"
COUNTER = "counts the batches of a norm"


def whole(config: Mapping[str, Any], field: str, least: int = 1) -> int:
    """An integer of the config, at least `least`; raises `Unsupported` otherwise."""
    value = config.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        found = "nothing" if field not in config else repr(value)
        raise Unsupported(
            f"config.json: {field} is {found}, expected a whole number >= {least}"
        )
    return value


def number(config: Mapping[str, Any], fields: Sequence[str], default: float) -> float:
    """A number in [0, 1), a rate or an epsilon: the first of the fields that is set."""
    for field in fields:
        value = config.get(field)
        if value is None:
            continue
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not 0 <= value < 1:
            raise Unsupported(
                f"config.json: {field} is {value!r}, expected a number in [0, 1)"
            )
        return float(value)
    return default


def architecture_of(config: Mapping[str, Any]) -> str | None:
    """The one architecture that the config names, None where it names none."""
    named = config.get("architectures")
    if not named:
        return None
    if not isinstance(named, list) or len(named) != 1 or not isinstance(named[0], str):
        raise Unsupported(f"config.json: architectures is {named!r}, expected one name")
    return named[0]


def labels_of(config: Mapping[str, Any]) -> int:
    """Number of classes: `num_labels`, else the names in `id2label`, else 2."""
    names = config.get("id2label")
    if "num_labels" in config:
        return whole(config, "num_labels")
    if names is not None and not isinstance(names, dict):
        raise Unsupported(f"config.json: id2label is {names!r}, expected an object")
    return len(names) if names else 2


def choice(
    config: Mapping[str, Any], field: str, known: Mapping[str, Any], default: str
) -> Any:
    """What the config's value stands for; raises `Unsupported` with the known ones."""
    value = config.get(field, default)
    if not isinstance(value, str) or value not in known:
        hint = did_you_mean(str(value), known)
        raise Unsupported(f"config.json: {field} is {value!r}; {hint}")
    return known[value]


def refuse(config: Mapping[str, Any], allowed: Mapping[str, Sequence]) -> None:
    """Raise `Unsupported` for the first field that is set to what we don't compute."""
    for field, values in allowed.items():
        value = config.get(field, values[0])
        if value not in values:
            expected = " or ".join(repr(v) for v in values)
            raise Unsupported(
                f"config.json: {field} is {value!r}, supported is {expected}"
            )
