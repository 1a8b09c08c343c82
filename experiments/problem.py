"""A problem made ready: weights, task, devices, and the batches of every split."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.augmentation import make_augment
from experiments.backbone import load_base
from experiments.devices import make_layout
from experiments.held_out import split
from experiments.inputs import Encoded, encode
from experiments.sources import read_examples
from experiments.tasks import Task, make_task
from tl_jax import data
from tl_jax.distribute import Layout, share
from tl_jax.types import Augment, Pretrained, Stream


class Problem(NamedTuple):
    """What all strategies and seeds share."""

    base: Pretrained
    task: Task
    outputs: int
    """Width of the head."""
    classes: tuple[str, ...]
    examples: data.Examples
    encoded: Encoded
    config: ConfigDict
    layout: Layout
    augment: Augment | None = None
    """What changes training batches within the step."""

    def training(self, rows: np.ndarray, seed: int) -> data.Loader:
        """Endless shuffled batches of some rows: this process's part of each."""
        shard, shards = share(self.layout)
        return data.loader(
            self.encoded.columns,
            self.encoded.labels,
            rows,
            self.config.batch_size,
            seed,
            buckets=self.encoded.buckets,
            shard=shard,
            shards=shards,
        )

    def streams(self, rows: np.ndarray) -> Iterator[Stream]:
        """Each of the rows once, short ones first, padding at weight 0."""
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


def make_problem(config: ConfigDict) -> Problem:
    """Read, check, load and encode everything that the config names."""
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
