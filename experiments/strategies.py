"""Strategies: from the data of a config to transforms, phases and optimisers."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.algorithms import Recipe, recipe_of
from experiments.given import given_by
from experiments.penalties import Added, First, make_penalties
from experiments.shift.settings import shift_of
from experiments.shift.strategy import Shift, make_shift
from experiments.transforms import called, make_transfer
from tl_jax import optim
from tl_jax.pretrained.spec import SHAPE
from tl_jax.transfer import rank_budget
from tl_jax.tree import no_match
from tl_jax.types import Transfer


class Phase(NamedTuple):
    """A part of a run under one plan; a config may give steps as a share below 1."""

    name: str
    transfer: Transfer
    steps: int
    fit: str | None
    """Name of an estimator that fits the head before any step."""
    patience: int
    """Evaluations without a better score after which it ends; 0: never."""
    added: Added
    """Penalties of its loss, and what they fit before any step."""
    tx: Callable[[int], Any]
    """(first step) -> optimiser."""
    clip: float | None
    """The gradient's norm, at most; None for a line search, which needs all of it."""
    search: bool
    """True if the optimiser searches along a line over all moving leaves."""
    recipe: Recipe
    """What algorithm the phase is."""


class Strategy(NamedTuple):
    """A way to reuse the pretrained model."""

    name: str
    title: str
    note: str
    pretrained: bool
    phases: tuple[Phase, ...]
    average: float | None
    accumulate: int
    first: tuple[First, ...] = ()
    """What penalties make of the pretrained plan, before it gets a new head."""
    frozen: bool = False
    """The body never moves: its features are computed once."""
    shift: Shift = Shift()
    """What it does about a target domain, beside the terms of its phases."""


FIELDS = {
    "title": "",
    "note": "",
    "pretrained": True,
    "plan": (),
    "fit": "",
    "steps": -1,
    "rate": 0.0,
    "average": 0.0,
    "phases": {},
    "trials": (),
    "optimiser": "",
    "schedule": "",
    "learner": {},
    "train": "",
    "patience": -1,
    "penalties": {},
    "budget": {},
    "frozen": False,
    "adapt": {},
    "reweigh": {},
    "align": {},
    "target_labelled": 0,
    "source": True,
}
PHASE_FIELDS = (
    *("plan", "fit", "steps", "rate", "optimiser", "schedule"),
    *("learner", "train", "patience", "penalties", "budget", "adapt"),
)
FITTED = ("classification", "multilabel", "tokens", "regression")
FITS = {"linear_probe": FITTED, "ridge": FITTED}
"""Estimator -> tasks whose head it fits; a linear probe of numbers is a ridge."""
OPTIMISERS = ("adamw", "sgd", "lbfgs")


def make_strategy(name: str, config: ConfigDict) -> Strategy:
    """The strategy `config.strategies[name]`, checked field by field.

    Raises with the field's path, what was found and the nearest valid name.
    """
    at = f"strategies.{name}"
    known = config.strategies.keys()
    if name not in known:
        raise no_match("config.run: strategy", name, known)
    own = dict(config.strategies[name])
    for field in own:
        if field not in FIELDS:
            raise no_match(f"config.{at}: field", field, FIELDS)
    own = FIELDS | own
    parts = dict(own["phases"]) or {"train": {}}
    phases = _once(
        _phase(
            f"{at}.phases.{part}" if own["phases"] else at,
            *(part, own, dict(parts[part]), config),
        )
        for part in sorted(parts)
    )
    _check_heads(at, phases)
    _check_starts(at, phases, config)
    if not 0 <= own["average"] < 1:
        raise ValueError(
            f"config.{at}.average is {own['average']}, expected a decay in [0, 1)"
        )
    return Strategy(
        name,
        own["title"] or name,
        own["note"],
        bool(own["pretrained"]) and not shift_of(config).features,
        phases,
        own["average"] or None,
        config.get("accumulate", 1),
        tuple(dict.fromkeys(f for phase in phases for f in phase.added.first)),
        _frozen(at, own, phases, config),
        make_shift(own, f"config.{at}", config),
    )


def _once(phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Phases of which only the first that needs a fit beside the head's makes it."""
    made, known = [], set()
    for phase in phases:
        own = tuple(fit for fit in phase.added.fits if fit[0] not in known)
        known |= {name for name, _ in own}
        made.append(phase._replace(added=phase.added._replace(fits=own)))
    return tuple(made)


def _phase(at: str, name: str, own: dict, part: dict, config: ConfigDict) -> Phase:
    """One phase: its own fields, else the strategy's, else the config's."""
    for field in part:
        if field not in PHASE_FIELDS:
            raise no_match(f"config.{at}: field", field, PHASE_FIELDS)
    merged = {field: part.get(field, own[field]) for field in PHASE_FIELDS}
    _check_fit(at, merged["fit"], config.task)
    fallback = 0 if merged["fit"] else config.steps
    steps = merged["steps"] if merged["steps"] >= 0 else fallback
    if 0 < steps < 1:
        steps = max(round(steps * config.steps), 1)
    if steps != int(steps):
        raise ValueError(
            f"config.{at}.steps is {steps}, expected a whole number, or a share of "
            "config.steps below 1"
        )
    steps = int(steps)
    search = _optimiser_name(merged, config) == "lbfgs"
    if steps and not search and not 0 < merged["rate"] < math.inf:
        raise ValueError(
            f"config.{at}: rate is {merged['rate']}, expected more than 0 "
            f"for {steps} steps"
        )
    plan = make_transfer(merged["plan"], f"config.{at}.plan", given_by(config))
    patience = config.patience if merged["patience"] < 0 else merged["patience"]
    if patience != int(patience):
        raise ValueError(f"config.{at}.patience is {patience}, expected a whole number")
    try:
        tx = make_optimiser(merged, steps, config)
    except ValueError as error:
        raise ValueError(f"config.optimiser, for config.{at}: {error}") from error
    clip = None if search else config.optimiser.clip or None
    recipe = recipe_of(merged, at, config)
    of = config.task, recipe.batches
    added = make_penalties(merged["penalties"], f"config.{at}.penalties", *of)
    fit, patience = merged["fit"] or None, int(patience)
    return Phase(name, plan, steps, fit, patience, added, tx, clip, search, recipe)


def _check_heads(at: str, phases: tuple[Phase, ...]) -> None:
    """Raise where a phase reads another head than the one that the first one made."""
    first = phases[0]
    for phase in phases[1:]:
        if phase.recipe.head not in (first.recipe.head, "none"):
            raise ValueError(
                f"config.{at}.phases: {phase.name!r} reads a head over "
                f"{phase.recipe.head!r}, but the first phase, {first.name!r}, made "
                f"one over {first.recipe.head!r}; expected one kind of head, or "
                "learners behind it that read none"
            )


def _check_starts(at: str, phases: tuple[Phase, ...], config: ConfigDict) -> None:
    """Raise where joined blocks would lose what leaves were at their start."""
    added = [item for phase in phases for item in phase.added.penalties.items()]
    starts = [name for name, penalty in added if penalty.start]
    if starts and config.model.stack and len(phases) > 1:
        raise ValueError(
            f"config.{at}.penalties: {starts[0]} keeps where leaves began, but "
            "config.model.stack joins other blocks in each phase; expected one phase, "
            "or config.model.stack=False"
        )


def _frozen(at: str, own: Mapping, phases: tuple[Phase, ...], config: ConfigDict):
    """Whether features are computed once; raises ValueError where they can't be."""
    if not own["frozen"]:
        return False
    field, task, spec = f"config.{at}.frozen", config.task, config.model.spec
    if task != "fewshot":
        raise ValueError(
            f"{field} is True, but config.task is {task!r}: features computed once "
            "are for fewshot; elsewhere freeze '.*' in the plan"
        )
    if not own["pretrained"] or spec.startswith(SHAPE):
        why = f"config.model.spec, {spec!r}, has none"
        if not own["pretrained"]:
            why = f"config.{at}.pretrained is False"
        raise ValueError(f"{field}: features are of pretrained weights, but {why}")
    if config.augment and any(phase.steps for phase in phases):
        raise ValueError(
            f"{field}: features are computed once, of pictures as they are, but "
            "config.augment changes them at each step"
        )
    return True


def _check_fit(at: str, name: str, task: str) -> None:
    """Raise for an estimator that is unknown or does not fit the task's labels."""
    if not name:
        return
    if name not in FITS:
        raise no_match(f"config.{at}.fit", name, FITS)
    if task not in FITS[name]:
        raise ValueError(
            f"config.{at}.fit: {name} fits {', '.join(FITS[name])}, but config.task is "
            f"{task!r}; train a head by steps instead: freeze '.*', rate 'head/.*' 1"
        )


def _optimiser_name(merged: Mapping[str, Any], config: ConfigDict) -> str:
    return merged["optimiser"] or config.optimiser.name


def make_optimiser(
    merged: Mapping[str, Any], steps: int, config: ConfigDict
) -> Callable[[int], Any]:
    """The optimiser of a phase, as a function of its first step."""
    settings = config.optimiser
    name = _optimiser_name(merged, config)
    if name not in OPTIMISERS:
        raise no_match("name", name, OPTIMISERS)
    shape = merged["schedule"] or settings.schedule
    warmup, end = settings.warmup if steps else 0, settings.end
    curve = optim.schedule(shape, merged["rate"], max(steps, 1), warmup, end)
    budget = dict(merged["budget"])

    def make(first: int) -> Any:
        tx = plain(first)
        if not budget or not steps:
            return tx
        return called(rank_budget, {"tx": tx, "steps": steps, **budget}, "budget")

    def plain(first: int) -> Any:
        def rate(step: Any) -> Any:
            return curve(step - first)

        if name == "sgd":
            return optim.sgd(rate, settings.momentum or None)
        if name == "lbfgs":
            return optim.lbfgs()
        return optim.adamw(
            rate, b1=settings.b1, b2=settings.b2, weight_decay=settings.weight_decay
        )

    make(0)  # raises for a budget that does not fit
    return make
