"""Views of unlabelled rows by name: `{"augment": name, argument: value, ...}`."""

import inspect
from typing import Any

from ml_collections import ConfigDict

from experiments.transforms import called
from tl_jax.algorithms.adaptation import dropped, hidden_tokens, noisy
from tl_jax.data.augment import AUGMENTS, compose
from tl_jax.tree import one_of
from tl_jax.types import Augment

TABLE = dict | ConfigDict
MIXING = {"mixup", "cutmix"}
"""They change labels, and a view has none."""
VIEWS = {name: make for name, make in AUGMENTS.items() if name not in MIXING} | {
    "noisy": noisy,
    "dropped": dropped,
    "hidden_tokens": hidden_tokens,
}
"""Name -> constructor: pictures' augmentations, noise of features and of texts."""


def make_view(given: Any, at: str) -> Augment:
    """One view of a table, or of several one after another.

    A function stays as it is. Raises with the place and the nearest name.
    """
    if callable(given):
        return given
    tables = [given] if isinstance(given, TABLE) else given
    if not isinstance(tables, list | tuple) or not tables:
        raise ValueError(f"{at} is {given!r}, expected a table with `augment`, or some")
    return compose(*(_one(table, f"{at}[{i}]") for i, table in enumerate(tables)))


def _one(table: Any, at: str) -> Augment:
    if not isinstance(table, TABLE) or "augment" not in table:
        raise ValueError(f"{at} is {table!r}, expected a table with `augment`, a name")
    own = dict(table)
    name = own.pop("augment")
    one_of(f"{at}: view", name, VIEWS)
    for argument in own:
        one_of(
            f"{at}: {name}'s argument",
            argument,
            inspect.signature(VIEWS[name]).parameters,
        )
    return called(VIEWS[name], own, at)
