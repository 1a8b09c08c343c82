"""Labels from a support set that the user gives, by a learner of a few-shot study."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import store
from experiments.algorithms import PLAYER
from experiments.backbone import load_base
from experiments.episode_settings import rows_of
from experiments.frozen import computed, frozen_base
from experiments.inputs import Encoded, encode
from experiments.learner_table import LEARNERS, Entry
from experiments.learners import default_of
from experiments.phases import cast_of, setting_of
from experiments.plans import base_params, last_plan
from experiments.problem import Problem
from experiments.programs import predicting
from experiments.sources import columns_of, from_source
from experiments.strategies import Strategy, make_strategy
from experiments.tasks import make_task
from experiments.unlabelled import read_pictures, read_texts
from tl_jax import data
from tl_jax.data.columns import as_column, count_rows, row_lengths, take_inputs
from tl_jax.data.ragged import bucket
from tl_jax.distribute import Layout, layout, place, place_batch
from tl_jax.types import Batch, Frozen, Player, Pretrained, State

FLAG = "--support"


class Learned(NamedTuple):
    """A strategy that was trained, as wide as the support set asks."""

    strategy: Strategy
    config: ConfigDict
    entry: Entry
    table: Mapping[str, Any]
    """The learner's, of the last phase."""
    head: int | None
    """Width of the head that was trained; None without one."""
    base: Pretrained

    def width(self, kind: str) -> int | None:
        """How wide the head is, whatever it was made for."""
        return self.head


def answer(
    config: ConfigDict, name: str, seed: int, folder: Path, support: Path, new: Path
) -> tuple[Problem, np.ndarray]:
    """(The new examples as a problem over the support set's classes, logits [N C]).

    `name`, `seed` and `folder` are those of the run that learns the task. Raises
    FileNotFoundError or ValueError, before anything is computed, for a support set or
    new examples that can't be read, or that the learner can't tell apart.
    """
    one = layout(devices=jax.local_devices()[:1])
    given = read_support(support, config)
    learned = _learned(config, name, folder, given.classes)
    base = load_base(config, one)
    pictured = base.preprocess is not None
    if pictured != ("image" in given.inputs):
        kinds = ("pictures", "texts") if pictured else ("texts", "pictures")
        raise ValueError(
            f"{FLAG} {support}: it holds {kinds[1]}, but the study is of {kinds[0]}"
        )
    asked = (read_pictures if pictured else read_texts)(new, config)
    for note in (*given.notes, *asked.notes):
        print(f"note: {note}", file=sys.stderr)
    both = []
    for examples in (given, asked):
        own = learned.config
        made = Problem(
            base,
            make_task(own.task, given.classes),
            len(given.classes),
            given.classes,
            examples,
            encode(examples, base, own),
            own,
            one,
        )
        both.append(made)
    learned = learned._replace(base=base)
    if learned.strategy.frozen:
        learned = learned._replace(base=frozen_base(base))
    columns = [_columns(problem, learned.strategy) for problem in both]
    return both[1], _logits(learned, one, seed, folder, *columns, given.labels)


def read_support(path: Path, config: ConfigDict) -> data.Examples:
    """A folder with a sub-folder a class, or a table with texts and labels.

    Raises FileNotFoundError or ValueError for what can't be read, and for fewer than
    two classes.
    """
    if not path.exists():
        raise FileNotFoundError(f"{FLAG}: there is no file or folder {path}")
    text, label = columns_of(config)
    own = config.data

    def of_file(file: Path) -> data.Examples:
        return data.from_table(file, text=text, label=label)

    how = dict(background=own.background, damaged=own.damaged, of_file=of_file)
    try:
        found = from_source(str(path), FLAG, **how)
    except ValueError as error:
        raise ValueError(f"{FLAG}: {error}") from error
    kind = data.task(found)
    if kind != "classes":
        raise ValueError(f"{FLAG} {path}: expected a class an example, found {kind}")
    known, labels = np.unique(found.labels, return_inverse=True)
    classes = tuple(found.classes[label] for label in known)
    if len(classes) < 2:
        raise ValueError(
            f"{FLAG} {path}: its only class is {classes[0]!r}, expected 2 or more"
        )
    return found._replace(labels=labels.astype(np.int32), classes=classes)


def _learned(
    config: ConfigDict, name: str, folder: Path, classes: tuple[str, ...]
) -> Learned:
    """The strategy for as many ways; raises ValueError where it tells fewer apart."""
    config, ways = config.copy_and_resolve_references(), len(classes)
    table = _table(config.strategies[name])
    entry, head = LEARNERS[table.learner], store.head_width(folder)
    wide = entry.head == "ways" or entry.wide
    most = head if entry.head == "ways" else table.get("ways", ways)
    if wide and ways > most:
        raise ValueError(
            f"{FLAG} has {ways} classes, but {name!r}, by {table.learner}, was trained "
            f"to tell at most {most} apart; learners without a head of so many, as "
            "prototypical, take any number"
        )
    with config.unlocked():
        if "ways" in table and not entry.wide:
            del table.ways
        config.episodes.ways, config.episodes.train_ways = ways, 0
    return Learned(make_strategy(name, config), config, entry, table, head, None)


def _table(strategy: ConfigDict) -> ConfigDict:
    """The learner's table of the last phase."""
    phases = strategy.get("phases", {})
    last = phases[max(phases)] if phases else {}
    return last.get("learner", None) or strategy.learner


def _columns(problem: Problem, strategy: Strategy) -> Encoded:
    """What the learner reads: features of a frozen body, else the inputs."""
    if not strategy.frozen:
        return problem.encoded
    return Encoded({"features": computed(problem)}, problem.encoded.labels)


def _logits(
    learned: Learned,
    one: Layout,
    seed: int,
    folder: Path,
    support: Encoded,
    query: Encoded,
    labels: np.ndarray,
) -> np.ndarray:
    """[N C] of all queries, a part of them after another."""
    algorithm, state, frozen = _state(learned, seed, folder, one)
    program = predicting(algorithm, one)
    whole = _stream(support, np.arange(len(labels)), labels)
    count = count_rows(query.columns, None)
    found = []
    for rows in parts(count, _most(learned, count)):
        batch = {"support": whole, "query": _stream(query, rows)}
        placed = place_batch(one, jax.tree.map(lambda leaf: leaf[None], batch))
        found.append(np.asarray(program(state, frozen, placed))[0])
    return np.concatenate(found)[:, : learned.config.episodes.ways]


def parts(count: int, most: int) -> Iterator[np.ndarray]:
    """Row numbers cut into as few parts as hold `most` each, as even as can be.

    No part is padded: of two sizes at most, they make two programs.
    """
    return iter(np.array_split(np.arange(count), -(-count // most)))


def _most(learned: Learned, count: int) -> int:
    """Queries at a time: all where they share statistics of batch norm."""
    norm = learned.table.get("norm", default_of(learned.entry, "norm"))
    if learned.base.stats and norm == "transductive":
        print(
            f"note: {learned.strategy.name!r} normalises by statistics of all new "
            "examples together: each one's label depends on the others",
            file=sys.stderr,
        )
        return count
    return max(rows_of(learned.config), 1)


def _state(
    learned: Learned, seed: int, folder: Path, one: Layout
) -> tuple[Any, State, Frozen]:
    """(Algorithm, state, frozen) of the last phase under the weights of a run."""
    strategy, config, base = learned.strategy, learned.config, learned.base
    key, phase = jax.random.key(seed), learned.strategy.phases[-1]
    plan = last_plan(learned, strategy, key)
    source = base.source
    plan = store.load_model(folder, plan, base_params(learned, strategy), source)
    players: dict[str, Player] = cast_of(phase, key, base.model, plan, 0)
    for name, player in players.items():
        if name != PLAYER:
            own = store.load_model(folder, player.plan, {}, source, name)
            players[name] = player._replace(plan=own)
    task = make_task(config.task, ())
    setting = setting_of(config, task, strategy, phase, None)
    algorithm = phase.recipe.make(setting, players)
    return algorithm, *place(one, algorithm.init(key, players))


def _stream(encoded: Encoded, rows: np.ndarray, labels: Any = None) -> Batch:
    """Rows as a stream of weight 1, tokens filled up to the longest row's bucket."""
    columns = {name: as_column(name, c) for name, c in encoded.columns.items()}
    lengths = row_lengths(columns, np.arange(count_rows(columns, None)))
    size = None if lengths is None else bucket(int(lengths.max()), encoded.buckets)
    return {
        "inputs": take_inputs(columns, rows, size),
        "labels": np.zeros(len(rows), np.int32) if labels is None else labels,
        "weight": np.ones(len(rows), np.float32),
        "index": rows.astype(np.int32),
    }
