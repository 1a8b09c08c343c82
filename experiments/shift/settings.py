"""What must hold of the fields of a config about two domains."""

from typing import Any

from ml_collections import ConfigDict

from tl_jax.metrics.label_free import SELECTORS
from tl_jax.pretrained.spec import SHAPE
from tl_jax.tree import one_of

TASKS = ("classification", "regression")
FIELDS = ("sources", "pairs", "limit", "batch_size", "features", "network")
"""Fields that say nothing where there is no target."""


NONE = ConfigDict({"target": "", "joint": True, "features": False})
"""Of studies that were run before there were two domains."""


def shift_of(config: ConfigDict) -> ConfigDict:
    """What a config says of a target domain."""
    return config.get("shift", NONE)


def check_shift(config: ConfigDict) -> None:
    """Raise ValueError, by its name, for a field of domains that can't be right."""
    own = config.shift
    two = own.target and config.task == "classification"
    if config.select in SELECTORS and not two:
        raise ValueError(
            f"config.select is {config.select!r}, which chooses among classifiers of "
            "two domains; expected best or last"
        )
    if not own.target:
        for field in FIELDS:
            if own[field]:
                raise ValueError(
                    f"config.shift.{field} is {own[field]!r}, but config.shift.target "
                    "is empty: there is one domain"
                )
        return
    one_of("config.shift.target is given; config.task", config.task, TASKS)
    for field, else_ in (("batch_size", "that of the source"), ("limit", "all rows")):
        if not _whole(own[field]) or own[field] < 0:
            raise ValueError(
                f"config.shift.{field} is {own[field]!r}, expected a whole number, or "
                f"0 for {else_}"
            )
    if not all(_whole(width) and width > 0 for width in own.network):
        raise ValueError(
            f"config.shift.network is {tuple(own.network)}, expected widths of layers"
        )
    if own.network and not own.features:
        raise ValueError(
            f"config.shift.network is {tuple(own.network)}, a network over features, "
            "but config.shift.features is False"
        )
    if own.features and config.model.spec.startswith(SHAPE):
        raise ValueError(
            "config.shift.features is True: features are of pretrained weights, but "
            f"config.model.spec, {config.model.spec!r}, has none"
        )
    if own.features and config.augment:
        raise ValueError(
            "config.shift.features is True: features are computed once, but "
            "config.augment changes pictures at each step"
        )
    if config.together:
        raise ValueError(
            f"config.together is {config.together!r}, but strategies of two domains "
            "run one by one; expected it empty"
        )
    check_pairs(own.pairs)


def check_pairs(pairs: Any) -> None:
    """Raise ValueError for what are no pairs of two domains."""
    fine = all(
        isinstance(pair, tuple | list) and len(pair) == 2 and pair[0] != pair[1]
        for pair in pairs
    )
    if not fine or len({tuple(pair) for pair in pairs}) < len(pairs):
        raise ValueError(
            f"config.shift.pairs is {tuple(pairs)}, expected distinct pairs "
            "(source, target) of two domains"
        )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
