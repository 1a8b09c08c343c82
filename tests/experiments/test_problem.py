"""Problems: files to examples to tokens, and splits without a leak."""

import json

import numpy as np
import pytest
from tiny_study import labelled, small, write

from experiments.held_out import split
from experiments.problem import make_problem
from experiments.sources import read_examples

SHAPES = {
    "classification": (".csv", 3),
    "regression": (".tsv", 1),
    "multilabel": (".jsonl", 3),
    "tokens": (".jsonl", 3),
    "span": (".jsonl", 2),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TL_JAX_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("task", SHAPES)
def test_heads_and_streams_of_each_task(task, tiny_model, tmp_path):
    suffix, outputs = SHAPES[task]
    config = small(tiny_model, write(tmp_path, task, suffix), task=task)
    problem = make_problem(config)
    assert problem.outputs == outputs
    stream = next(iter(problem.streams(np.arange(5))))
    assert stream["inputs"]["tokens"].shape == (16, 16)
    assert stream["weight"].sum() == 5


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ""])
def test_the_same_examples_from_any_file(suffix, tiny_model, tmp_path):
    config = small(tiny_model, write(tmp_path, "classification", suffix))
    examples = read_examples(config)
    found = {
        (text, examples.classes[label])
        for text, label in zip(examples.inputs["text"], examples.labels, strict=True)
    }
    rows = labelled("classification")
    assert found == {(row["text"], row["label"]) for row in rows}


def test_columns_by_name(tiny_model, tmp_path):
    rows = [
        {"words": row["tokens"], "tags": row["labels"]} for row in labelled("tokens")
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    config = small(tiny_model, path, task="tokens")
    config.data.text, config.data.label = "words", "tags"
    assert read_examples(config).classes == ("B-x", "I-x", "O")


def test_equal_texts_stay_on_one_side(tiny_model, tmp_path):
    rows = labelled("tokens")[:20] * 3
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    config = small(tiny_model, path, task="tokens")
    parts = split(read_examples(config), config, 0)
    seen = [{i % 20 for i in part} for part in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 20


def test_rows_of_one_group_stay_on_one_side(tiny_model, tmp_path):
    config = small(tiny_model, write(tmp_path, "classification", ".csv"))
    groups = np.arange(60) // 4
    parts = split(read_examples(config)._replace(groups=groups), config, 0)
    seen = [set(groups[part]) for part in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 15


def test_splits_by_hash_do_not_move_when_the_data_grow(tiny_model, tmp_path):
    config = small(tiny_model, write(tmp_path, "classification", ".csv"))
    config.data.split_by, config.data.test = "hash", 0.3
    examples = read_examples(config)
    fewer = examples._replace(
        inputs={"text": examples.inputs["text"][:45]}, labels=examples.labels[:45]
    )
    whole, part = (split(e, config, 0)["test"] for e in (examples, fewer))
    np.testing.assert_array_equal(part, whole[whole < 45])


@pytest.mark.parametrize("given", [("validation",), ("validation", "test")])
def test_a_source_may_bring_some_of_its_splits(given, tiny_model, tmp_path):
    config = small(tiny_model, write(tmp_path, "classification", ".csv"))
    rows = {"validation": np.arange(12), "test": np.arange(12, 30)}
    own = {name: rows[name] for name in given}
    parts = split(read_examples(config)._replace(splits=own), config, 0)
    if not config.data.per_class:
        np.testing.assert_array_equal(parts["validation"], rows["validation"])
    assert not set(rows["validation"]) & {*parts["train"], *parts["test"]}
    assert all(len(part) for part in parts.values())


def test_class_weights_read_the_training_rows_alone(tiny_model, tmp_path):
    config = small(tiny_model, write(tmp_path, "classification", ".csv"))
    config.class_weights = "balanced"
    problem = make_problem(config)
    train = split(problem.examples, config, 0)["train"]
    counts = np.bincount(problem.examples.labels[train])
    stream = {"labels": np.arange(3), "weight": np.ones(3)}
    wanted = len(train) / (3 * counts)
    np.testing.assert_allclose(problem.task.weigh(stream), wanted, rtol=1e-6)


def test_other_labels_name_the_task_that_fits(tiny_model, tmp_path):
    rows = [{"text": row["text"], "label": 0.5} for row in labelled("classification")]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match="--config.task=regression fits them"):
        read_examples(small(tiny_model, path))
