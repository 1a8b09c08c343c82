"""The domains of a config: examples of each, one set of classes, rows by name."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.held_out import blind, split
from experiments.sources import read_examples
from tl_jax import data
from tl_jax.algorithms.adaptation import TARGET, check_label_sets


class Domains(NamedTuple):
    """Source domains and the target, their rows one after another."""

    parts: tuple[data.Examples, ...]
    """The target last."""
    classes: tuple[str, ...]
    """The source's; the target has no others."""
    truth: np.ndarray
    """[N ...] all labels, the target's among them."""
    number: np.ndarray
    """[N] which part a row is of."""
    examples: data.Examples
    """What is said of all."""

    @property
    def is_target(self) -> np.ndarray:
        """[N] True for rows of the target."""
        return self.number == len(self.parts) - 1

    @property
    def starts(self) -> list[int]:
        """The first row of each part."""
        return [int(np.argmax(self.number == i)) for i in range(len(self.parts))]

    def split(self, config: ConfigDict, seed: int) -> data.Splits:
        """Rows of `train` and `validation`, the source's; `target` and `test`.

        `target` are the rows that adaptation may see, `test` those that judge: no
        row, and no two equal texts or pictures, of both. Which is which has nothing
        to do with their labels; of the first, `config.shift.limit` are drawn by seed.
        """
        found: dict[str, list] = {"train": [], "validation": []}
        for part, start in zip(self.parts[:-1], self.starts, strict=False):
            rows = whole_source(part, config, seed)
            for name in found:
                found[name].append(rows[name] + start)
        rows = {name: np.concatenate(each) for name, each in found.items()}
        target, start = blind(self.parts[-1], config), self.starts[-1]
        seen = target["seen"]
        if limit := config.shift.get("limit", 0):  # a study of before has none
            drawn = np.random.default_rng((config.data.split_seed, seed))
            seen = np.sort(drawn.permutation(seen)[:limit])
        rows |= {TARGET: seen + start, "test": target["test"] + start}
        return data.disjoint(rows, len(self.number))

    def opened(self, rows: np.ndarray, per_class: int, seed: int) -> np.ndarray:
        """The rows of the target whose labels are open: so many a class, or all (-1).

        Raises ValueError naming a class with too few.
        """
        if per_class < 0:
            return rows
        if not self.classes:
            drawn = np.random.default_rng(seed).permutation(rows)[:per_class]
            return np.sort(drawn)
        few = data.few(self.truth, per_class, 0, seed, rows=rows, classes=self.classes)
        return few["train"]


def whole_source(part: data.Examples, config: ConfigDict, seed: int) -> data.Splits:
    """A source's rows to train and to choose by: nothing of it need judge.

    A split `test` of its own is not used: it belongs to studies where it is the target.
    """
    found = split(part, config, seed)
    if config.data.per_class or "test" in part.splits:
        return found
    rest = found["test"]
    return found | {"train": np.sort(np.concatenate([found["train"], rest]))}


def read_domains(config: ConfigDict) -> Domains:
    """The domains that `config.data.source`, `config.shift.sources` and `.target` name.

    Raises ValueError where their labels are not of one kind or one set of classes.
    """
    names = (config.data.source, *config.shift.sources, config.shift.target)
    fields = ["config.data.source"]
    fields += [f"config.shift.sources[{i}]" for i in range(len(names) - 2)]
    fields.append("config.shift.target")
    for field, name in zip(fields[:-1], names, strict=False):
        if name == config.shift.target:
            raise ValueError(
                f"{field} and config.shift.target are both {name!r}, expected two "
                "domains"
            )
    parts = [
        read_examples(config, source=name, at=field)
        for name, field in zip(names, fields, strict=True)
    ]
    classes = parts[0].classes
    labels = [
        _labels(part, classes, name, config)
        for part, name in zip(parts, names, strict=True)
    ]
    sizes = [data.size(part) for part in parts]
    return Domains(
        tuple(parts),
        classes,
        np.concatenate(labels),
        np.repeat(np.arange(len(parts)), sizes),
        _said(parts, sum(sizes)),
    )


def _labels(
    part: data.Examples, classes: tuple[str, ...], name: str, config: ConfigDict
) -> np.ndarray:
    """A domain's labels as numbers of the first domain's classes."""
    labels = np.asarray(part.labels)
    if part.classes == classes:
        return labels
    known = set(part.classes)
    own = [c for c in classes if c in known]
    own += [c for c in part.classes if c not in classes]
    try:
        check_label_sets(classes, own, partial=True)
    except ValueError as error:
        raise ValueError(f"{config.data.source!r} and {name!r}: {error}") from None
    if name == config.shift.target:
        check_strategies(config, classes, own)
    place = np.asarray([classes.index(name) for name in part.classes])
    return place[labels]


def check_strategies(
    config: ConfigDict, classes: Sequence[str], own: Sequence[str]
) -> None:
    """Raise ValueError where a strategy aligns a target that lacks classes.

    One of its methods must be for partial label sets, in each phase that sees both.
    """
    from experiments.settings import names
    from experiments.shift.methods import METHODS

    for strategy in names(config):
        table = config.strategies[strategy]
        parts = {f".phases.{n}": part for n, part in table.get("phases", {}).items()}
        for place, part in ({"": table} | parts).items():
            kinds = [METHODS[name] for name in part.get("adapt", {})]
            kinds = [entry for entry in kinds if entry.streams == "domains"]
            partial = not kinds or any(e.label_sets == "partial" for e in kinds)
            try:
                check_label_sets(classes, own, partial=partial)
            except ValueError as error:
                at = f"config.strategies.{strategy}{place}.adapt"
                raise ValueError(f"{at}: {error}") from None


def _said(parts: list[data.Examples], rows: int) -> data.Examples:
    """Name, licence and notes of all domains; one column, the rows' numbers."""
    *sources, target = (part.name for part in parts)
    licences = dict.fromkeys(part.licence for part in parts)
    notes = dict.fromkeys(f"{p.name}: {note}" for p in parts for note in p.notes)
    return data.Examples(
        {"row": np.arange(rows)},
        None,
        parts[0].classes,
        name=f"{' and '.join(sources)} to {target}",
        licence="; ".join(licences),
        notes=tuple(notes),
    )
