"""Augmentations of a config's training pictures, by name."""

import inspect
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from tl_jax.data.augment import AUGMENTS, compose
from tl_jax.tree import no_match
from tl_jax.types import Augment


def make_augment(
    config: ConfigDict, classes: int, of_pictures: bool = True
) -> Augment | None:
    """The chain of `config.augment`, tables `{"augment": name, argument: value, ...}`.

    Those that mix examples get the number of `classes` where it is not given. None
    without any. Raises with the place in the config and the nearest name, and where
    the model does not read pictures.
    """
    made = [
        _one(f"config.augment[{i}]", table, classes)
        for i, table in enumerate(config.augment)
    ]
    if made and not of_pictures:
        raise ValueError(
            f"config.augment changes pictures, but config.model.spec, "
            f"{config.model.spec!r}, reads none"
        )
    if made and config.task != "classification" and mixes(config):
        raise ValueError(
            f"config.augment mixes classes, but config.task is {config.task!r}"
        )
    return compose(*made) if made else None


def mixes(config: ConfigDict) -> bool:
    """Whether `config.augment` mixes examples, and their labels with them."""
    names = (table["augment"] for table in config.augment)
    return any("classes" in inspect.signature(AUGMENTS[n]).parameters for n in names)


def _one(at: str, table: Any, classes: int) -> Augment:
    if not isinstance(table, Mapping) or "augment" not in table:
        raise ValueError(f"{at} is {table!r}, expected a table with `augment`, a name")
    given = dict(table)
    name = given.pop("augment")
    if name not in AUGMENTS:
        raise no_match(f"{at}: augmentation", name, AUGMENTS)
    known = inspect.signature(AUGMENTS[name]).parameters
    for argument in given:
        if argument not in known:
            raise no_match(f"{at}: {name}'s argument", argument, known)
    if "classes" in known:
        given.setdefault("classes", classes)
    try:
        return AUGMENTS[name](**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{at}: {error}") from error
