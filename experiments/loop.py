"""The one train loop: chunks of steps, records, evaluations, checkpoints."""

import itertools
import math
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.programs import Programs
from experiments.progress import Progress
from experiments.records import Sink
from tl_jax.data import prefetch
from tl_jax.types import Frozen, Key, State


class Stopped(Exception):
    """The run was asked to end; what it had done is saved."""


class NotFinite(ArithmeticError):
    """The loss is no number any more."""


class Every(NamedTuple):
    """How many steps lie between two of each."""

    call: int
    log: int
    evaluate: int
    checkpoint: int


class Progressed(NamedTuple):
    """What the loop itself knows beside the state; a checkpoint's `meta` holds it."""

    pending: tuple[Any, ...] = ()
    """Losses since the last record: a number each, or a list of several runs'."""
    best: float | None = None
    best_step: int = -1
    bad: int = 0
    """Evaluations without a new best."""
    scores: dict[str, float] | None = None
    """Of the last evaluation, if no step came after it."""


class Hooks(NamedTuple):
    """What a loop calls outside its compiled steps."""

    batches: Callable[[int, int], Any]
    """(step, count) -> streams [count B ...] on the host."""
    evaluate: Callable[[State, Frozen], dict[str, float]]
    """Scores on validation."""
    score: Callable[[dict[str, float]], float]
    """The headline of those scores, more is better."""
    save: Callable[[int, State, Frozen, Progressed, float | None], None]
    records: Sink
    timings: Sink
    progress: Progress
    stop: Callable[[bool], bool]
    """True once a process was asked to end; the argument says whether others may be
    waited for."""
    place: Callable[[Any], Any]
    """A chunk's batches [count B ...] onto the devices."""


def spans(first: int, last: int, every: Every) -> list[tuple[int, int]]:
    """Chunks [start, stop) of at most `every.call` steps, cut where something happens.

    Cuts lie at fixed steps whatever `first` is, so a resumed run has the same chunks.
    """
    marks = {n for n in (every.log, every.evaluate, every.checkpoint, every.call) if n}
    cuts = {step for n in marks for step in range(n, last, n)} | {last}
    bounds = [first, *sorted(cut for cut in cuts if cut > first)]
    return list(itertools.pairwise(bounds))


def train(
    step: Programs,
    state: State,
    frozen: Frozen,
    key: Key,
    *,
    span: tuple[int, int],
    every: Every,
    hooks: Hooks,
    patience: int = 0,
    known: Progressed = Progressed(),  # noqa: B008 - a constant
) -> tuple[State, Progressed]:
    """Run the steps of `span` and return the last state.

    Ends early after `patience` evaluations without a better score (0: never). Losses
    are read one chunk late, so that nothing waits for the step it logs.

    Raises `NotFinite` for a loss that is no number, `Stopped` when asked to end.
    """
    chunks = spans(*span, every)
    waiting: tuple[int, Any] | None = None
    with _ahead(chunks, hooks) as stream:
        for (start, stop), batches in zip(chunks, stream, strict=True):
            began = time.perf_counter()
            before = step.seconds
            new, metrics = step(state, frozen, batches, key)
            known = _read(waiting, known, hooks)
            state, waiting = new, (start, metrics["loss"])
            happens = {
                name: bool(n) and stop % n == 0
                for name, n in every._asdict().items()
                if name != "call"
            }
            asked = hooks.stop(any(happens.values()))
            if any(happens.values()) or stop == span[1] or asked:
                known, waiting = _read(waiting, known, hooks), None
            compiled = step.seconds - before
            _time(hooks, start, stop, batches, began, compiled)
            known, score, over = _after(
                stop, span[1], state, frozen, happens, known, patience, hooks
            )
            if happens["checkpoint"] or asked or over or stop == span[1]:
                if not all_finite(state.train):
                    rows = _rows(hooks.batches(stop - 1, 1))
                    raise NotFinite(
                        f"a weight is no number after step {stop - 1}, though its "
                        f"loss was; rows of that batch: {rows}"
                    )
                hooks.save(stop, state, frozen, known, score)
            if asked and stop < span[1]:
                raise Stopped(f"stopped after step {stop}; the same command goes on")
            if over:
                break
    return state, known


@jax.jit
def all_finite(tree: Any) -> jax.Array:
    """True if every weight is a number: no checkpoint may hold another."""
    return jnp.asarray([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()


def _ahead(chunks: list[tuple[int, int]], hooks: Hooks) -> Any:
    """Batches of every chunk, made and put on the device beside the computation."""

    def make(i: int) -> Any:
        start, stop = chunks[i]
        return hooks.batches(start, stop - start)

    return closing(prefetch(make, 0, len(chunks), place=hooks.place))


def _read(waiting: Any, known: Progressed, hooks: Hooks) -> Progressed:
    """Fetch the losses of a finished chunk; raise if one is no number."""
    if waiting is None:
        return known
    start, device = waiting
    losses = np.asarray(device, np.float64)
    for i, loss in enumerate(losses):
        if not np.isfinite(loss).all():
            rows = _rows(hooks.batches(start + i, 1))
            raise NotFinite(
                f"the loss is {loss} at step {start + i}; rows of that batch: {rows}"
            )
    hooks.progress.advance(len(losses), float(np.mean(losses[-1])))
    pending = known.pending + tuple(losses.tolist())
    return known._replace(pending=pending, scores=None)


def _rows(batch: Any) -> str:
    """Indices of a batch's examples, by stream."""
    return "; ".join(
        f"{name} {np.asarray(stream['index']).ravel().tolist()}"
        for name, stream in batch.items()
    )


def _after(
    step: int,
    last: int,
    state: State,
    frozen: Frozen,
    happens: dict[str, bool],
    known: Progressed,
    patience: int,
    hooks: Hooks,
) -> tuple[Progressed, float | None, bool]:
    """Records and evaluation at a chunk's end: (known, score, whether to stop)."""
    if known.pending and (happens["log"] or step == last):
        loss = np.mean(known.pending, axis=0).tolist()
        hooks.records.append({"step": step, "split": "train", "loss": loss})
        known = known._replace(pending=())
    if not (happens["evaluate"] or step == last):
        return known, None, False
    scores = hooks.evaluate(state, frozen)
    hooks.records.append({"step": step, "split": "validation", **scores})
    score = hooks.score(scores)
    if not math.isnan(score) and (known.best is None or score > known.best):
        known = known._replace(best=score, best_step=step, bad=0)
    else:
        known = known._replace(bad=known.bad + 1)
    known = known._replace(scores=scores)
    over = bool(patience) and known.bad >= patience
    if over:
        best = {"best_step": known.best_step, "evaluations": known.bad}
        hooks.records.append({"step": step, "split": "plateau", **best})
    return known, score, over


def _time(hooks, start: int, stop: int, batches, began: float, compiled: float) -> None:
    """One line of timings; they live apart from the records."""
    seconds = time.perf_counter() - began - compiled
    rows = sum(np.prod(stream["weight"].shape) for stream in batches.values())
    hooks.timings.append(
        {
            "step": stop,
            "steps": stop - start,
            "seconds": seconds,
            "examples_per_second": float(rows) / max(seconds, 1e-9),
            "compile_seconds": compiled,
        }
    )
    hooks.progress.speed(float(rows), seconds, compiled)
