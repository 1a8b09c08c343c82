"""What must hold of a config before anything is read, loaded or compiled."""

import math
from pathlib import Path
from typing import Any, get_args

from ml_collections import ConfigDict

from experiments.episode_settings import check_episodes, check_idle, check_steps
from experiments.shift.settings import check_shift
from experiments.strategies import make_strategy
from experiments.tasks import EPISODIC, TASKS
from experiments.together_settings import check_together
from tl_jax.algorithms.many import Batching
from tl_jax.metrics.label_free import SELECTORS
from tl_jax.tree import no_match

CHOICES = {
    "select": ("best", "last", *SELECTORS),
    "allocator": ("system", "keep"),
    "together": ("", *get_args(Batching)),
    "model.head": ("drop", "keep"),
    "data.split_by": ("class", "hash"),
    "data.damaged": ("raise", "skip"),
    "mesh.batch_norm": ("global", "replica"),
}
AT_LEAST = {
    "batch_size": 1,
    "eval_batch_size": 1,
    "accumulate": 1,
    "steps": 0,
    "patience": 0,
    "resamples": 1,
    "every.call": 1,
    "every.log": 1,
    "every.evaluate": 0,
    "every.checkpoint": 0,
    "data.per_class": 0,
    "data.validation_per_class": 0,
    "data.test_limit": 0,
    "data.split_seed": 0,
    "data.size": 0,
    "data.target_length": 2,
    "data.pack": 0,
    "writing.beams": 1,
    "model.patch": 0,
    "model.channels": 0,
    "model.filters": 0,
    "model.multiplier": 0,
    "mesh.host_devices": 0,
    "optimiser.warmup": 0,
    "optimiser.end": 0,
    "optimiser.weight_decay": 0,
    "optimiser.clip": 0,
}
SHARES = {
    "smoothing": "[0, 1)",
    "optimiser.b1": "[0, 1)",
    "optimiser.b2": "[0, 1)",
    "optimiser.momentum": "[0, 1)",
    "data.validation": "(0, 1)",
    "data.test": "(0, 1)",
}
"""Field -> the interval in which it must lie."""


def names(config: ConfigDict) -> list[str]:
    """The strategies that `config.run` names, in its order."""
    return [name.strip() for name in config.run.split(",") if name.strip()]


def check(config: ConfigDict) -> None:
    """Raise ValueError for a field that can't be right, by its name."""
    if config.task not in TASKS:
        raise no_match("config.task", config.task, TASKS)
    _check_run(config)
    _check_seeds(config.seeds)
    for name, least in AT_LEAST.items():
        value = _field(config, name)
        if not least <= value < math.inf:
            raise ValueError(f"config.{name} is {value}, expected at least {least}")
    for name, interval in SHARES.items():
        value = _field(config, name)
        if not 0 <= value < 1 or (value == 0 and interval[0] == "("):
            raise ValueError(f"config.{name} is {value}, expected in {interval}")
    if config.batch_size % config.accumulate:
        raise ValueError(
            f"config.accumulate is {config.accumulate}, which does not divide "
            f"config.batch_size, {config.batch_size}"
        )
    if config.data.per_class and not config.data.validation_per_class:
        raise ValueError(
            "config.data.validation_per_class is 0, expected at least 1 beside "
            f"config.data.per_class, {config.data.per_class}"
        )
    _check_buckets(config.data.buckets, config.data.length)
    for name, known in CHOICES.items():
        if _field(config, name) not in known:
            raise no_match(f"config.{name}", _field(config, name), known)
    check_together(config, names(config))
    check_episodes(config)
    check_shift(config)
    if config.task in EPISODIC:
        check_idle(config)
        check_steps(config, names(config))
    if config.steps == 0 and not 0 < config.epochs < math.inf:
        raise ValueError("config.steps or config.epochs must be more than 0")
    sized = config.copy_and_resolve_references()
    sized.steps = config.steps or round(max(config.optimiser.warmup, 1))
    for name in names(config):
        make_strategy(name, sized)


def _field(config: ConfigDict, name: str) -> Any:
    """A field by its dotted name."""
    for part in name.split("."):
        config = config[part]
    return config


def _check_run(config: ConfigDict) -> None:
    """Names of strategies: there, each once, and fit for a folder."""
    chosen, known = names(config), list(config.strategies.keys())
    if not chosen:
        raise ValueError(
            f"config.run names no strategy; there are: {', '.join(known) or 'none'}"
        )
    for name in chosen:
        if name not in known:
            raise no_match("config.run: strategy", name, known)
        if chosen.count(name) > 1:
            raise ValueError(f"config.run names {name!r} twice: {config.run}")
        if Path(name).name != name:
            raise ValueError(f"config.run: {name!r} can't be a folder's name")
    if config.reference and config.reference not in known:
        raise no_match("config.reference", config.reference, known)


def _check_buckets(buckets: Any, length: int) -> None:
    """Whole numbers, the largest at least `length`; empty for the default ones."""
    fine = all(isinstance(n, int) and n > 0 for n in buckets)
    if buckets and (not fine or max(buckets) < length):
        raise ValueError(
            f"config.data.buckets is {tuple(buckets)}, expected lengths up to "
            f"config.data.length, {length}, or more"
        )


def _check_seeds(seeds: Any) -> None:
    """One or more distinct whole numbers."""
    fine = all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds)
    if not seeds or not fine or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"config.seeds is {tuple(seeds)}, expected distinct whole numbers from 0"
        )
