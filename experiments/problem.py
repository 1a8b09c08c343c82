"""A problem made ready: weights, task, devices, and the batches of every split."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.algorithms import Recipe
from experiments.augmentation import make_augment
from experiments.backbone import load_base
from experiments.devices import make_layout
from experiments.held_out import split
from experiments.inputs import Encoded, encode
from experiments.sources import read_examples
from experiments.tasks import EPISODIC, TEXTS, Task, make_task
from tl_jax import data
from tl_jax.distribute import Layout, share
from tl_jax.types import Augment, Batch, Pretrained, Stream


class Problem(NamedTuple):
    """What all strategies and seeds share."""

    base: Pretrained
    task: Task
    outputs: int
    """Width of the head for the data's classes."""
    classes: tuple[str, ...]
    examples: data.Examples
    encoded: Encoded
    config: ConfigDict
    layout: Layout
    augment: Augment | None = None
    """What changes training batches within the step."""

    draw: Callable | None = None
    """Draws episodes within the step; of few-shot problems."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows that a method's memory has to know of; none here."""
        return {}

    @property
    def resident(self) -> Mapping[str, Any]:
        """What lies on the devices beside the frozen leaves."""
        return {}

    def split(self, seed: int) -> data.Splits:
        """The rows that train, choose and are held out."""
        return split(self.examples, self.config, seed)

    def width(self, head: str) -> int | None:
        """How wide a recipe's head is; None for no head."""
        return self.outputs

    def batches(
        self, rows: np.ndarray, seed: int, recipe: Recipe
    ) -> Callable[[int, int], Batch]:
        """(step, count) -> this process's part of the batches of `count` steps.

        Endless, shuffled; of one stream, `train`.
        """
        shard, shards = share(self.layout)
        made = data.loader(
            *self.encoded.training(rows),
            self.config.batch_size,
            seed,
            buckets=self.encoded.buckets,
            shard=shard,
            shards=shards,
        )
        return lambda step, count: {"train": made.chunk(step, count)}

    def batch(self, inputs: Mapping[str, Any]) -> Batch:
        """What `predict` gets for the inputs of a stream."""
        return {"query": {"inputs": self.task.asked(inputs)}}

    def of(self, strategy: Any) -> "Problem":
        """The problem as a strategy sees it: the same for all."""
        return self

    def outline(self, strategy: Any) -> "Problem":
        """The same for plans and shapes alone."""
        return self

    def importance(self, rows: np.ndarray, seed: int) -> np.ndarray | None:
        """What rows count in a fit [N]; None where all count the same."""
        return None

    def judge(self, job: Any, part: Any, state: Any, frozen: Any) -> dict[str, Any]:
        """More of a finished run for its result; of one domain there is nothing."""
        return {}

    def grid(self) -> Batch | None:
        """Tasks whose fits are drawn; none of rows."""
        return None

    def streams(self, rows: np.ndarray, name: str = "") -> Iterator[Stream]:
        """Each of the rows once, short ones first, padding at weight 0.

        `name` is that of their split.
        """
        shard, shards = share(self.layout)
        return data.evaluation(
            self.encoded.columns,
            self.encoded.labels,
            rows,
            self.config.eval_batch_size,
            buckets=self.encoded.buckets,
            shard=shard,
            shards=shards,
        )


def written_by(base: Pretrained, config: ConfigDict) -> dict[str, Any]:
    """What a task of texts asks of the model: its tokenizer, the length of answers."""
    if config.task not in TEXTS:
        return {}
    return {"tokenizer": base.tokenizer, "length": config.data.target_length}


def make_problem(config: ConfigDict) -> Problem:
    """Read, check, load and encode everything that the config names."""
    if config.task in EPISODIC:
        from experiments.episodes import make_episodes

        return make_episodes(config)
    if config.shift.target:
        from experiments.shift.problem import make_shifted

        return make_shifted(config)
    layout = make_layout(config)
    examples = read_examples(config)
    base = load_base(config, layout)
    labels = None
    if config.class_weights != "none" and config.task == "classification":
        # Any seed's do: whatever is drawn anew for a seed has equal classes.
        train = split(examples, config, config.seeds[0])["train"]
        labels = examples.labels[train]
    task = make_task(
        config.task,
        examples.classes,
        smoothing=config.smoothing,
        class_weights=config.class_weights,
        labels=labels,
        **written_by(base, config),
    )
    encoded = encode(examples, base, config)
    outputs = task.outputs(len(examples.classes))
    return Problem(
        base,
        task,
        outputs,
        examples.classes,
        examples,
        encoded,
        config,
        layout,
        make_augment(config, outputs, base.preprocess is not None),
    )
