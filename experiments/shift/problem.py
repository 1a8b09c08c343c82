"""The problem of two domains: labelled rows of one, rows of another without labels.

Rows of all domains stand in one table, the target's last. Labels of the target are
taken out of it; they are held apart, for rows that are opened and for those that judge.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.algorithms import Recipe
from experiments.augmentation import make_augment, mixes
from experiments.backbone import load_base
from experiments.devices import make_layout
from experiments.inputs import Encoded, encode
from experiments.shift.domains import Domains, read_domains
from experiments.shift.features import over_features, without_features
from experiments.shift.measures import judge, mapped, weighed
from experiments.tasks import Task, make_task
from tl_jax import data
from tl_jax.algorithms.adaptation import IMPORTANCE, LABELLED, SOURCE, TARGET
from tl_jax.distribute import Layout, share
from tl_jax.types import Augment, Batch, Pretrained, Stream

SEALED = -1
"""What stands in the place of a class that nobody may see; of a number it is NaN."""


class Shifted(NamedTuple):
    """A problem of two domains, with all that `Problem` has."""

    base: Pretrained
    task: Task
    outputs: int
    classes: tuple[str, ...]
    examples: data.Examples
    """What is said of both domains; one column, the rows' numbers."""
    encoded: Encoded
    """Of all rows; labels of the target are sealed."""
    config: ConfigDict
    layout: Layout
    domains: Domains
    augment: Augment | None = None
    draw: Callable | None = None
    strategy: Any = None
    """Whose ways with the target this problem has; None: nobody's."""
    memo: dict = {}  # noqa: RUF012 - made anew for each strategy
    """What is found once: weights of the source's rows by seed, compiled programs."""

    @property
    def counts(self) -> Mapping[str, int]:
        """`examples` of all domains together, and the `count` of the target's own.

        The target's rows are those that train, as many whatever the seed.
        """
        own = self.split(self.config.seeds[0])[TARGET]
        return {"examples": len(self.domains.number), "count": len(own)}

    @property
    def resident(self) -> Mapping[str, Any]:
        """What lies on the devices beside the frozen leaves."""
        return {}

    def split(self, seed: int) -> data.Splits:
        """Rows by name: the source trains and chooses, the target's own rows judge."""
        return self.domains.split(self.config, seed)

    def width(self, head: str) -> int | None:
        """How wide a recipe's head is."""
        return self.outputs

    def batches(
        self, rows: np.ndarray, seed: int, recipe: Recipe
    ) -> Callable[[int, int], Batch]:
        """(step, count) -> this process's part of the batches of `count` steps.

        A step reads the streams that its recipe asks for, each shuffled by itself.
        """
        columns = dict(self.encoded.columns)
        if (counts := self._counts(seed)) is not None:
            columns[IMPORTANCE] = counts
        of_source = columns, self.encoded.labels, rows
        if recipe.batches == "train" and not self._opened:
            made = self._loader(*of_source, self.config.batch_size, seed)
            return lambda step, count: {"train": made.chunk(step, count)}
        parts = self.split(seed)
        loaders = {}
        if recipe.batches != TARGET and self._from_source:
            loaders[SOURCE] = self._loader(*of_source, self.config.batch_size, seed)
        own, size = self.encoded.columns, self.config.shift.batch_size
        size = size or self.config.batch_size
        if recipe.batches in ("domains", TARGET):
            loaders[TARGET] = self._loader(own, None, parts[TARGET], size, seed + 1)
        if self._opened and recipe.batches != TARGET:
            few = self.domains.opened(parts[TARGET], self._opened, seed)
            labels = np.array(self.encoded.labels)
            labels[few] = self.domains.truth[few]
            loaders[LABELLED] = self._loader(columns, labels, few, size, seed + 2)
        if recipe.batches == "train":
            return _as_train(loaders)
        return lambda step, count: {n: m.chunk(step, count) for n, m in loaders.items()}

    def importance(self, rows: np.ndarray, seed: int) -> np.ndarray | None:
        """What rows count in a fit [N]; None where all count the same."""
        counts = self._counts(seed)
        return None if counts is None else counts[rows]

    def _counts(self, seed: int) -> np.ndarray | None:
        """The importance of all rows [N], found once a seed."""
        if self.strategy is None or not self.strategy.shift.reweigh:
            return None
        if seed not in self.memo:
            self.memo[seed] = weighed(self, seed)
        return self.memo[seed].column

    @property
    def _opened(self) -> int:
        return 0 if self.strategy is None else self.strategy.shift.opened

    @property
    def _from_source(self) -> bool:
        return self.strategy is None or self.strategy.shift.source

    def _loader(self, columns, labels, rows, size: int, seed: int) -> data.Loader:
        shard, shards = share(self.layout)
        how = dict(buckets=self.encoded.buckets, shard=shard, shards=shards)
        return data.loader(columns, labels, rows, size, seed, **how)

    def batch(self, inputs: Mapping[str, Any]) -> Batch:
        """What `predict` gets for the inputs of a stream."""
        return {"query": {"inputs": self.task.asked(inputs)}}

    def of(self, strategy: Any) -> "Shifted":
        """The problem as a strategy sees it: its features mapped, its rows weighed."""
        made = self._replace(strategy=strategy, memo={})
        if self.config.shift.features:
            made = over_features(made)
        return mapped(made) if strategy.shift.align else made

    def outline(self, strategy: Any) -> "Shifted":
        """The same before any feature is computed: for plans and shapes alone."""
        made = self._replace(strategy=strategy)
        return without_features(made) if self.config.shift.features else made

    def judge(self, job: Any, part: Any, state: Any, frozen: Any) -> dict[str, Any]:
        """What a finished run says of both domains, and what its rows weighed."""
        return judge(self, job, part, state, frozen)

    def grid(self) -> Batch | None:
        """Tasks whose fits are drawn; none of rows."""
        return None

    def streams(self, rows: np.ndarray, name: str = "") -> Iterator[Stream]:
        """Each of the rows once, short ones first, padding at weight 0.

        Of the split `test` with the target's labels: evaluators alone see it.
        """
        shard, shards = share(self.layout)
        labels = self.domains.truth if name == "test" else self.encoded.labels
        return data.evaluation(
            self.encoded.columns,
            labels,
            rows,
            self.config.eval_batch_size,
            buckets=self.encoded.buckets,
            shard=shard,
            shards=shards,
        )


def _as_train(loaders: Mapping[str, data.Loader]) -> Callable[[int, int], Batch]:
    """Labelled rows of all streams as one, for what is trained as on one domain."""

    def at(step: int, count: int) -> Batch:
        parts = [made.chunk(step, count) for made in loaders.values()]
        return {"train": data.beside(parts)}

    return at


def make_shifted(config: ConfigDict) -> Shifted:
    """Read, check, load and encode everything that a config of two domains names."""
    if mixes(config):
        raise ValueError(
            "config.augment mixes examples with their labels, which rows of "
            "config.shift.target have not"
        )
    layout = make_layout(config)
    domains = read_domains(config)
    base = load_base(config, layout)
    labels = None
    if config.class_weights != "none" and config.task == "classification":
        train = domains.split(config, config.seeds[0])["train"]
        labels = domains.truth[train]
    task = make_task(
        config.task,
        domains.classes,
        smoothing=config.smoothing,
        class_weights=config.class_weights,
        labels=labels,
    )
    encoded = _encoded(domains, base, config)
    outputs = task.outputs(len(domains.classes))
    pictured = base.preprocess is not None and not config.shift.features
    return Shifted(
        base,
        task,
        outputs,
        domains.classes,
        domains.examples,
        encoded,
        config,
        layout,
        domains,
        make_augment(config, outputs, pictured),
    )


def _encoded(domains: Domains, base: Pretrained, config: ConfigDict) -> Encoded:
    """Every domain's columns, one after another; the target's labels sealed."""
    parts = [encode(part, base, config) for part in domains.parts]
    names = parts[0].columns.keys() & parts[-1].columns.keys()
    columns = {
        name: data.joined([part.columns[name] for part in parts]) for name in names
    }
    if len(parts) > 2:
        columns["domain"] = domains.number.astype(np.int32)
    return Encoded(
        columns,
        sealed_labels(domains.truth, domains.is_target),
        parts[0].buckets,
        cut=sum(part.cut for part in parts),
    )


def sealed_labels(labels: np.ndarray, of_target: np.ndarray) -> np.ndarray:
    """Labels [N] with nothing to be learned from where rows are the target's."""
    sealed = np.array(labels)
    sealed[of_target] = np.nan if sealed.dtype.kind == "f" else SEALED
    return sealed
