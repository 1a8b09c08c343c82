"""Few-shot problems: episodes in place of rows, over classes that are held out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.algorithms import Recipe
from experiments.augmentation import make_augment
from experiments.backbone import load_base
from experiments.devices import make_layout
from experiments.episode_settings import SHOWN, rows_of, shape_of, ways_of
from experiments.inputs import Encoded, encode
from experiments.sources import read_examples
from experiments.strategies import Strategy
from experiments.tasks import IGNORED, Task, make_task
from tl_jax import data
from tl_jax.algorithms.meta import RESIDENT, TASK
from tl_jax.distribute import Layout, replicate, share
from tl_jax.tree import no_match, one_of
from tl_jax.types import Augment, Batch, Pretrained, Stream

FAMILIES = {
    "sinusoid": data.sinusoid,
    "harmonic": data.harmonic,
    "linear": data.linear,
    "gaussian_process": data.gaussian_process,
}
"""`config.data.source` -> regressions that are generated, not drawn from examples."""
JUDGED = {"validation": 1, "test": 2}
"""Split -> what sets the seed of its episodes apart from the other's."""


class Episodes(NamedTuple):
    """A few-shot problem, with all that `Problem` has."""

    base: Pretrained
    task: Task
    outputs: int
    """Width of a head over the classes of one episode."""
    classes: tuple[str, ...]
    examples: data.Examples
    encoded: Encoded
    config: ConfigDict
    layout: Layout
    augment: Augment | None = None
    draw: Callable | None = None
    """(resident data, which tasks) -> training episodes, within the step."""
    judged: Callable | None = None
    """The same for episodes to judge by, where they are generated."""
    held: Any = None
    """The data on the devices that `draw` draws from; None: the host draws."""

    @property
    def generated(self) -> bool:
        """Whether tasks are generated, from no examples."""
        return self.config.data.source in FAMILIES

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows that a method's memory has to know of; none here."""
        return {}

    @property
    def resident(self) -> Mapping[str, Any]:
        """What lies on the devices beside the frozen leaves."""
        return {} if self.held is None else {RESIDENT: self.held}

    def split(self, seed: int) -> data.Splits:
        """Rows by split; no class is in two of them. The same for all seeds."""
        del seed
        if self.generated:
            return {name: np.zeros(0, int) for name in ("train", *JUDGED)}
        own = self.config.data
        examples, named = self.examples, dict(classes=self.classes)
        named["groups"] = examples.groups
        if {"train", "validation", "test"} <= examples.splits.keys():
            given = {name: examples.splits[name] for name in ("train", *JUDGED)}
            return data.class_disjoint(examples.labels, given, **named)
        shares = {"validation": own.validation, "test": own.test}
        shares = {"train": 1 - sum(shares.values()), **shares}
        try:
            return data.class_splits(examples.labels, shares, own.split_seed, **named)
        except ValueError as error:
            raise ValueError(
                f"config.data.source, {own.source!r}, cut by config.data.validation, "
                f"{own.validation}, and config.data.test, {own.test}: {error}"
            ) from error

    def width(self, head: str) -> int | None:
        """How wide a recipe's head is; None for no head."""
        if head == "classes" and not self.generated:
            return len(np.unique(self.encoded.labels[self.split(0)["train"]]))
        return None if head == "none" else self.outputs

    def batches(
        self, rows: np.ndarray, seed: int, recipe: Recipe
    ) -> Callable[[int, int], Batch]:
        """(step, count) -> this process's part of the batches of `count` steps.

        Of numbers of tasks, of episodes, or of rows of all classes, as the recipe asks:
        as many rows as such a batch of episodes has.
        """
        shard, shards = share(self.layout)
        config, cut = self.config, dict(shard=shard, shards=shards)
        if recipe.batches == "train":
            labels = np.full(len(self.encoded.labels), -1, np.int32)
            labels[rows] = np.unique(self.encoded.labels[rows], return_inverse=True)[1]
            shape = dict(buckets=self.encoded.buckets, **cut)
            of = self.encoded.columns, labels, rows, rows_of(config), seed
            made = data.loader(*of, **shape)
            return lambda step, count: {"train": made.chunk(step, count)}
        if self.held is not None:
            return data.task_numbers(config.batch_size, seed, **cut).chunk
        shape = shape_of(config, "train_")
        return self._episodes(rows, config.batch_size, seed, shape, **cut).chunk

    def batch(self, inputs: Mapping[str, Any]) -> Batch:
        """What `predict` gets for the inputs of a stream: an episode's two sets."""
        return {name: inputs[name] for name in ("support", "query")}

    def of(self, strategy: Strategy) -> "Episodes":
        """The problem as a strategy sees it: of features if the body is frozen."""
        if not strategy.frozen:
            return self
        from experiments.frozen import frozen

        return frozen(self)

    def outline(self, strategy: Strategy) -> "Episodes":
        """The same before any feature is computed: for plans and shapes alone."""
        if not strategy.frozen:
            return self
        from experiments.frozen import frozen_base

        return self._replace(base=frozen_base(self.base), augment=None)

    def judge(self, job: Any, part: Any, state: Any, frozen: Any) -> dict[str, Any]:
        """More of a finished run for its result; of episodes there is nothing."""
        return {}

    def grid(self) -> Batch | None:
        """Generated test tasks with their queries at even distances, to draw fits.

        All of them in each process; as many more as the devices need to share them.
        """
        if not self.generated:
            return None
        drawn = family_of(self.config, queries=SHOWN[1], grid=True)
        seed = 2 * self.config.data.split_seed + JUDGED["test"]
        parts = self.layout.batch_parts
        numbers = data.evaluation_numbers(-(-SHOWN[0] // parts) * parts, seed=seed)
        return _generated(drawn, numbers)(0)

    def streams(self, rows: np.ndarray, name: str = "validation") -> Iterator[Stream]:
        """The episodes of a split, the same for all strategies and seeds.

        Each row of a stream is an episode; its labels are its queries'.
        """
        config = self.config
        count, tasks = config.episodes[name], config.eval_batch_size
        seed = 2 * config.data.split_seed + JUDGED[name]
        shard, shards = share(self.layout)
        cut = dict(shard=shard, shards=shards)
        if self.generated:
            at = _generated(
                self.judged, data.evaluation_numbers(tasks, count, seed, **cut)
            )
        else:
            made = self._episodes(rows, tasks, 0, shape_of(config), **cut)
            at = data.evaluation_episodes(made, count, seed).at
        for step in range(-(-count // tasks)):
            index = step * tasks + np.arange(tasks).reshape(shards, -1)[shard]
            yield _stream(at(step), index, count)

    def _episodes(
        self, rows: np.ndarray, tasks: int, seed: int, shape: dict[str, int], **cut: int
    ) -> data.Episodes:
        columns, labels = self.encoded.columns, self.encoded.labels
        how = dict(groups=self.examples.groups, classes=self.classes, **shape, **cut)
        how |= dict(tasks=tasks, seed=seed, buckets=self.encoded.buckets)
        return data.episodes(columns, labels, rows, **how)


def _generated(draw: Callable, numbers: data.TaskNumbers) -> Callable[[int], Batch]:
    """(step) -> generated episodes on the host."""
    compiled = jax.jit(lambda which: draw({}, which))

    def at(step: int) -> Batch:
        found = compiled(numbers.at(step)[TASK])
        return jax.tree.map(np.asarray, found)

    return at


def _stream(episodes: Batch, index: np.ndarray, count: int) -> Stream:
    """Episodes as the rows of one stream; those past `count` weigh nothing."""
    query = episodes["query"]
    labels, real = query["labels"], query["weight"] > 0
    if labels.dtype.kind in "iu":
        labels = np.where(real, labels, IGNORED)
    return {
        "inputs": {"support": episodes["support"], "query": query},
        "labels": labels,
        "weight": (index < count).astype(np.float32),
        "index": index.astype(np.int32),
    }


def make_episodes(config: ConfigDict) -> Episodes:
    """Read, check, load and encode everything that a few-shot config names."""
    _check(config)
    layout = make_layout(config)
    base = load_base(config, layout)
    shape = shape_of(config, "train_")
    if config.data.source in FAMILIES:
        name = config.data.source
        examples = data.Examples({}, None, name=name, licence="none: generated")
        task = task_of(config, ())
        make_augment(config, 0, base.preprocess is not None)  # raises if there is any
        made = Episodes(base, task, 1, (), examples, Encoded({}, None), config, layout)
        draws = dict(draw=family_of(config, "train_"), judged=family_of(config))
        return made._replace(**draws, held={})
    examples = read_examples(config)
    task = task_of(config, examples.classes)
    encoded = encode(examples, base, config)
    ways = ways_of(config)
    made = Episodes(
        base,
        task,
        ways,
        examples.classes,
        examples,
        encoded,
        config,
        layout,
        make_augment(config, ways, base.preprocess is not None),
    )
    _check_splits(made)
    if config.episodes.sampler == "host":
        return made
    made = made._replace(draw=data.device_episodes(**shape))
    return made._replace(held=resident_of(made))


def resident_of(problem: Episodes) -> Any:
    """The training rows on the devices, for as large episodes as training has."""
    encoded, examples = problem.encoded, problem.examples
    how = dict(classes=problem.classes, groups=examples.groups)
    how |= dict(buckets=encoded.buckets, **shape_of(problem.config, "train_"))
    rows = problem.split(0)["train"]
    try:
        held = data.resident(encoded.columns, encoded.labels, rows, **how)
    except ValueError as error:
        raise ValueError(f"config.episodes.sampler is 'device': {error}") from error
    return replicate(problem.layout, held)


def family_of(config: ConfigDict, prefix: str = "", **more: Any) -> data.Family:
    """The generator of a config's tasks; with "train_" of those of meta-training."""
    shape = {n: size for n, size in shape_of(config, prefix).items() if n != "ways"}
    one_of("config.data.source", config.data.source, FAMILIES)
    return FAMILIES[config.data.source](**shape | more)


def task_of(config: ConfigDict, classes: tuple[str, ...]) -> Task:
    """The task; raises for a choice of losses that episodes have not."""
    choices = dict(smoothing=config.smoothing, class_weights=config.class_weights)
    return make_task(config.task, classes, **choices)


def _check_splits(problem: Episodes) -> None:
    """Raise ValueError, naming the split, where its classes make no episode."""
    rows = problem.split(0)
    for name, prefix in (("train", "train_"), ("validation", ""), ("test", "")):
        shape = shape_of(problem.config, prefix)
        try:
            problem._episodes(rows[name], 1, 0, shape)
        except ValueError as error:
            asked = ", ".join(f"{size} {field}" for field, size in shape.items())
            raise ValueError(
                f"config.episodes asks for {asked} of split {name!r} of "
                f"config.data.source, {problem.config.data.source!r}: {error}"
            ) from error


def _check(config: ConfigDict) -> None:
    """Raise ValueError, by its name, for a field that can't be right."""
    regression = config.task == "fewshot_regression"
    generated = config.data.source in FAMILIES
    if regression and not generated:
        raise no_match("config.data.source", config.data.source, FAMILIES)
    if generated and not regression:
        raise ValueError(
            f"config.data.source: {config.data.source!r} generates regressions, but "
            f"config.task is {config.task!r}; set it to fewshot_regression"
        )
