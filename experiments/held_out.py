"""Which rows train, which choose, which are held out: disjoint, equals on one side."""

import hashlib
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.sources import KINDS
from tl_jax import data


def split(examples: data.Examples, config: ConfigDict, seed: int) -> data.Splits:
    """Disjoint rows of train, validation and test.

    Equal texts are on one side, unless the source brings splits of its own.

    The test rows depend on `data.split_seed` alone, so that runs of all seeds are
    compared on the same ones; few-label subsets are drawn anew for each seed.
    """
    own, wanted = config.data, KINDS[config.task]
    count = data.size(examples)
    labels = np.zeros(count, int)
    if wanted == "classes":
        labels = np.asarray(examples.labels)
    names = examples.classes if wanted == "classes" else ()
    groups = _groups(examples)
    pool, test = _held_out(examples, own, labels, groups, names)
    if own.test_limit:
        drawn = np.random.default_rng(own.split_seed).permutation(test)
        test = np.sort(drawn[: own.test_limit])
    if own.per_class:
        few = {"rows": pool, "groups": groups, "classes": names}
        k_val = own.validation_per_class
        parts = data.few(labels, own.per_class, k_val, seed, **few)
    elif "validation" in examples.splits:
        parts = {"train": pool, "validation": examples.splits["validation"]}
    else:
        shares = {"train": 1 - own.validation, "validation": own.validation}
        inside = {"groups": groups[pool], "classes": names}
        found = data.stratified(labels[pool], shares, own.split_seed, **inside)
        parts = {name: pool[rows] for name, rows in found.items()}
    return data.disjoint(parts | {"test": test}, count)


def blind(examples: data.Examples, config: ConfigDict) -> data.Splits:
    """Rows `seen` and `test` of examples whose labels nobody looks at.

    The source's own test split, or a share `data.test` of all rows that are drawn by
    `data.split_seed`; equal texts or pictures are on one side.
    """
    own, count = config.data, data.size(examples)
    random = np.random.default_rng(own.split_seed)
    if "test" in examples.splits:
        test = examples.splits["test"]
    else:
        groups = np.unique(_groups(examples), return_inverse=True)[1]
        order = random.permutation(groups.max() + 1)
        test = np.flatnonzero(np.isin(groups, order[: round(own.test * len(order))]))
    seen = np.setdiff1d(np.arange(count), test)
    if own.test_limit:
        test = np.sort(random.permutation(test)[: own.test_limit])
    return data.disjoint({"seen": seen, "test": test}, count)


def _texts(examples: data.Examples) -> list[str] | None:
    """The text [N] that says whether two rows are the same; None without any.

    Of pictures it is a hash.
    """
    if "image" in examples.inputs:
        return _hashes(examples.inputs["image"])
    columns = [v for v in examples.inputs.values() if isinstance(v, list)]
    if not columns:
        return None
    chosen = examples.inputs.get("context", columns[0])
    return [text if isinstance(text, str) else " ".join(text) for text in chosen]


def _hashes(column: Any) -> list[str]:
    """A text a picture, the same for the same one."""
    if isinstance(column, data.Pictures | data.Held):
        return [f"{digest:x}" for digest in column.digests.tolist()]
    return [hashlib.sha256(row.tobytes()).hexdigest() for row in np.asarray(column)]


def _groups(examples: data.Examples) -> np.ndarray:
    """A number [N] a row: the source's own groups, else rows of equal texts."""
    if examples.groups is not None:
        return examples.groups
    texts = _texts(examples)
    return np.arange(data.size(examples)) if texts is None else data.groups_of(texts)


def _held_out(examples, own, labels, groups, names) -> tuple[np.ndarray, np.ndarray]:
    """(the rest, test): the source's own test split, else by class or by hash.

    The source's own validation split is in neither.
    """
    validation = examples.splits.get("validation", np.zeros(0, int))
    rows = np.setdiff1d(np.arange(len(labels)), validation)
    if "test" in examples.splits:
        test = examples.splits["test"]
        return examples.splits.get("train", np.setdiff1d(rows, test)), test
    shares, inside = {"rest": 1 - own.test, "test": own.test}, groups[rows]
    texts = _texts(examples)
    if own.split_by == "hash" and texts is not None:
        parts = data.by_text([texts[row] for row in rows], shares, own.split_seed)
        return rows[parts["rest"]], rows[parts["test"]]
    parts = data.stratified(
        labels[rows], shares, own.split_seed, groups=inside, classes=names
    )
    return rows[parts["rest"]], rows[parts["test"]]
