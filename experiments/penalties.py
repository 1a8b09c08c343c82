"""Penalties of a config: `{name: {argument: value, ...}}` made ready."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.transforms import called
from tl_jax.algorithms import (
    Penalty,
    bss,
    co_tuning,
    delta,
    l2_sp,
    near_identity,
    orthogonal,
    sparse_diffs,
)
from tl_jax.transfer import keep_head
from tl_jax.tree import one_of
from tl_jax.types import Transfer

First = Callable[[int], Transfer]
"""(classes) -> a change of the pretrained plan before it gets a new head."""


class Entry(NamedTuple):
    """A penalty that configs know."""

    make: Callable[..., Penalty]
    first: First | None = None
    fit: str | None = None
    """What is fitted on the training rows, of `fits.MEASURES`, before any step."""
    fitted: Mapping[str, Any] = {}
    """Arguments of that fit, with defaults, in the same table."""
    tasks: tuple[str, ...] = ()
    """Tasks that it is for; empty: all over rows."""


PENALTIES: Mapping[str, Entry] = {
    "l2_sp": Entry(l2_sp),
    "delta": Entry(delta),
    "bss": Entry(bss),
    "near_identity": Entry(near_identity),
    "orthogonal": Entry(orthogonal),
    "sparse_diffs": Entry(sparse_diffs),
    "co_tuning": Entry(
        *(co_tuning, keep_head, "relation", {"temperature": 1.0}),
        tasks=("classification",),
    ),
}


class Added(NamedTuple):
    """What a phase adds to its loss."""

    penalties: Mapping[str, Penalty]
    first: tuple[First, ...]
    fits: tuple[tuple[str, Mapping[str, Any]], ...]
    """(name in `fits.MEASURES`, arguments) of what is fitted before any step."""


def make_penalties(given: Any, at: str, task: str, batches: str) -> Added:
    """The penalties of a table, by name.

    Raises with the place in the config and the nearest name; where steps read
    episodes, whose learners take none; and for a task that a penalty is not for.
    """
    if not isinstance(given, Mapping | ConfigDict):
        raise ValueError(f"{at} is {given!r}, expected a table: {{name: {{...}}}}")
    if given and batches != "train":
        instead = ", or `train: 'classes'`" if batches == "episodes" else ""
        raise ValueError(
            f"{at}: penalties are of losses over rows of one domain, but steps read "
            f"{batches}; expected none{instead}"
        )
    penalties, first, fits = {}, [], []
    for name in given:
        one_of(at, name, PENALTIES)
        entry, where = PENALTIES[name], f"{at}.{name}"
        if not isinstance(given[name], Mapping | ConfigDict):
            raise ValueError(f"{where} is {given[name]!r}, expected a table of fields")
        if entry.tasks and task not in entry.tasks:
            raise ValueError(
                f"{where} is for {', '.join(entry.tasks)}, but config.task is {task!r}"
            )
        own = dict(given[name])
        measured = {n: own.pop(n, value) for n, value in entry.fitted.items()}
        _check_measured(measured, where)
        penalties[name] = called(entry.make, own, where)
        if entry.first is not None:
            first.append(entry.first)
        if entry.fit is not None:
            fits.append((entry.fit, measured))
    return Added(penalties, tuple(first), tuple(fits))


def _check_measured(measured: Mapping[str, Any], where: str) -> None:
    for name, value in measured.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{where}.{name} is {value}, expected more than 0")
