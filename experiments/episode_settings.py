"""The sizes of episodes that a config asks for, and what can't be right about them."""

from typing import Any

from ml_collections import ConfigDict

from tl_jax.tree import one_of

SAMPLERS = ("device", "host")
SIZES = ("ways", "shots", "queries")
LEAST = {
    "ways": 2,
    "shots": 1,
    "queries": 1,
    "train_shots": 0,
    "train_queries": 0,
    "validation": 1,
    "test": 1,
}
"""Field of `config.episodes` -> the smallest whole number that it may be."""
SHOWN = (4, 101)
"""Tasks whose fits are drawn, and their queries."""
IDLE = {
    "data.per_class": 0,
    "data.validation_per_class": 0,
    "data.test_limit": 0,
    "data.split_by": "class",
}
"""Fields that say which rows are held out, where episodes hold out classes."""


def shape_of(config: ConfigDict, prefix: str = "") -> dict[str, int]:
    """Ways, shots and queries of an episode; with "train_" those of meta-training."""
    own = config.episodes
    return {name: own.get(f"{prefix}{name}") or own[name] for name in SIZES}


def ways_of(config: ConfigDict) -> int:
    """Classes of the largest episodes: as wide as a head over them is."""
    own = config.get("episodes", {})
    return max(own.get("ways", 0), own.get("train_ways", 0))


def rows_of(config: ConfigDict) -> int:
    """Rows of a batch of episodes to train with, support and queries."""
    shape = shape_of(config, "train_")
    rows = shape["ways"] * (shape["shots"] + shape["queries"])
    return config.batch_size * rows


def check_episodes(config: ConfigDict) -> None:
    """Raise ValueError, by its name, for a field of episodes that can't be right."""
    own = config.episodes
    for name, least in LEAST.items():
        if not _whole(own[name]) or own[name] < least:
            raise ValueError(
                f"config.episodes.{name} is {own[name]!r}, expected a whole number of "
                f"at least {least}"
            )
    if not _whole(own.train_ways) or own.train_ways < 0 or own.train_ways == 1:
        raise ValueError(
            f"config.episodes.train_ways is {own.train_ways!r}, expected at least 2, "
            "or 0 for those of config.episodes.ways"
        )
    one_of("config.episodes.sampler", own.sampler, SAMPLERS)
    curve = tuple(own.curve) if not isinstance(own.curve, str) else (own.curve,)
    if not all(_whole(n) and n >= 0 for n in curve) or len({*curve}) < len(curve):
        raise ValueError(
            f"config.episodes.curve is {own.curve!r}, expected distinct whole numbers "
            "of adaptation steps from 0"
        )


def check_idle(config: ConfigDict) -> None:
    """Raise ValueError for a field that says nothing about episodes, but is set."""
    for name, default in IDLE.items():
        part, _, field = name.partition(".")
        if config[part][field] != default:
            raise ValueError(
                f"config.{name} is {config[part][field]!r}, but config.task is "
                f"{config.task!r}: episodes hold out whole classes, by "
                "config.data.validation and config.data.test; expected "
                f"{default!r}"
            )


def check_steps(config: ConfigDict, names: list[str]) -> None:
    """Raise ValueError if strategies take a share of meta-steps that nobody gave."""
    learned = [name for name in names if _takes_share(config.strategies[name])]
    if not config.steps and learned:
        raise ValueError(
            "config.steps is 0: episodes have no epochs, so say how many meta-steps "
            f"to take; strategies that train: {', '.join(learned)}"
        )


def _takes_share(table: Any) -> bool:
    """Whether a strategy's steps, or those of a phase, depend on `config.steps`."""
    own = table.get("steps", -1)
    phases = dict(table.get("phases", {})) or {"": {}}
    each = [dict(part).get("steps", own) for part in phases.values()]
    return any(steps < 0 or 0 < steps < 1 for steps in each)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
