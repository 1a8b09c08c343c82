"""Numbers of tasks as batches, for episodes that are made where they are used."""

from typing import NamedTuple

import numpy as np

from tl_jax.types import Batch

EVALUATION = 2**31 - 2**20
"""Number of the first task to evaluate with; training's are below."""


class TaskNumbers(NamedTuple):
    """Random access to batches of numbers; make one with `task_numbers`."""

    tasks: int
    """Tasks a step, over all shards."""
    seed: int = 0
    first: int = 0
    count: int | None = None
    """Tasks there are; None: for ever."""
    shard: int = 0
    shards: int = 1

    @property
    def steps(self) -> int | None:
        """Number of batches, None if there is no end."""
        return None if self.count is None else -(-self.count // self.tasks)

    def at(self, step: int) -> Batch:
        """{"task": {"index" [K], "weight" [K], "seed" [K]}} of this shard.

        Past the end weight is 0 and index -1.
        """
        return {"task": {k: v[0] for k, v in self.chunk(step, 1)["task"].items()}}

    def chunk(self, step: int, k: int) -> Batch:
        """The batches of `k` steps from `step`, stacked [k K]."""
        start, real = span(self.tasks, self.count, step, k)
        number = np.arange(k * self.tasks).reshape(k, self.shards, -1)[:, self.shard]
        inside = number < real
        index = np.where(inside, self.first + start + number, -1).astype(np.int32)
        seed = np.full(index.shape, self.seed, np.uint32)
        weight = inside.astype(np.float32)
        return {"task": {"index": index, "weight": weight, "seed": seed}}


def task_numbers(
    tasks: int, seed: int = 0, *, shard: int = 0, shards: int = 1
) -> TaskNumbers:
    """Numbers 0, 1, ... to train with, `tasks` a step.

    Raises ValueError for fewer than one task and for shards that do not divide them.
    """
    check_numbers(tasks, seed, shard, shards)
    return TaskNumbers(tasks, seed, 0, None, shard, shards)


def evaluation_numbers(
    tasks: int, count: int = 600, seed: int = 0, *, shard: int = 0, shards: int = 1
) -> TaskNumbers:
    """`count` numbers to evaluate with, none of training's, the same for every method.

    Raises ValueError as `task_numbers`, and for more than there are.
    """
    check_numbers(tasks, seed, shard, shards)
    check_evaluation(count)
    return TaskNumbers(tasks, seed, EVALUATION, count, shard, shards)


def span(tasks: int, count: int | None, step: int, k: int) -> tuple[int, int]:
    """(First of k steps' tasks, how many of them there are).

    Raises IndexError past the end, or where evaluation's numbers begin.
    """
    steps = None if count is None else -(-count // tasks)
    if step < 0 or k < 1 or (steps is not None and step + k > steps):
        raise IndexError(f"steps {step} to {step + k - 1} are not in 0..{steps}")
    start, total = step * tasks, k * tasks
    if count is None and start + total > EVALUATION:
        raise IndexError(f"step {step}: tasks from {EVALUATION} on are evaluation's")
    return start, total if count is None else min(total, count - start)


def check_numbers(tasks: int, seed: int, shard: int, shards: int) -> None:
    """Raise ValueError for settings that make no batches."""
    at_least("tasks", tasks, 1)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, expected 0..{2**32 - 1}")
    if not 0 <= shard < shards or tasks % shards:
        raise ValueError(f"shard {shard} of {shards} does not divide {tasks} tasks")


def check_evaluation(count: int) -> None:
    """Raise ValueError unless there are as many numbers to evaluate with."""
    at_least("count", count, 1)
    if count > 2**31 - 1 - EVALUATION:
        most = 2**31 - 1 - EVALUATION
        raise ValueError(f"count is {count}, expected at most {most}")


def at_least(name: str, value: int, least: int) -> None:
    """Raise ValueError naming an argument that is smaller."""
    if value < least:
        raise ValueError(f"{name} is {value}, expected {least} or more")
