"""Rows and features that few-shot studies train on and test with."""

import numpy as np
import pytest
from several import records
from tiny_episodes import MAML, PROTOTYPICAL, pictures, write_classes
from tiny_study import run

from experiments.problem import make_problem
from experiments.strategies import make_strategy


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("classes"))


def test_streams_of_two_strategies_hold_the_same_rows(source):
    problems = []
    for table, sampler in ((PROTOTYPICAL, "device"), (MAML, "host")):
        config = pictures(source, one=table)
        config.episodes.sampler = sampler
        problems.append(make_problem(config).of(make_strategy("one", config)))
    for split in ("validation", "test"):
        rows = [
            [s["inputs"][side]["index"].tolist() for s in own for side in s["inputs"]]
            for own in (p.streams(p.split(0)[split], split) for p in problems)
        ]
        assert rows[0] == rows[1]
    both = [
        {i for s in p.streams(p.split(0)[n], n) for i in s["index"]}
        for p in problems
        for n in ("validation", "test")
    ]
    assert [len(found) for found in both] == [4, 8] * 2


def seen(problem, rows, sampler, name):
    """Class names in the first batches of training."""
    config = problem.config
    recipe = make_strategy(name, config).phases[0].recipe
    batch = problem.batches(rows, 0, recipe)(0, 8)
    if "task" in batch and sampler == "device":
        tasks = {key: leaf.ravel() for key, leaf in batch["task"].items()}
        batch = problem.draw(problem.held, tasks)
    index = np.concatenate([np.ravel(s["index"]) for s in batch.values()])
    labels = problem.encoded.labels[index[index >= 0]]
    return {problem.classes[label] for label in np.unique(labels)}


@pytest.mark.parametrize("sampler", ["device", "host"])
@pytest.mark.parametrize("train", ["episodes", "classes"])
def test_held_out_classes_never_train(sampler, train, source, monkeypatch):
    """A class that leaks into the training rows would be seen to."""
    config = pictures(source, one=PROTOTYPICAL | {"train": train})
    config.episodes.sampler = sampler
    problem = make_problem(config)
    rows = problem.split(0)
    assert seen(problem, rows["train"], sampler, "one") == set("abcd")

    from experiments import episodes

    first = rows["test"][:6]  # one class of the two
    leaky = rows | {"train": np.concatenate([rows["train"], first])}
    monkeypatch.setattr(episodes.Episodes, "split", lambda self, seed: leaky)
    leaking = make_problem(config)
    assert seen(leaking, leaky["train"], sampler, "one") == set("abcdg")


def test_classes_train_on_as_many_rows_as_episodes_hold(source):
    config = pictures(source, one=PROTOTYPICAL | {"train": "classes"})
    problem = make_problem(config)
    recipe = make_strategy("one", config).phases[0].recipe
    batch = problem.batches(problem.split(0)["train"], 0, recipe)(0, 3)
    assert batch["train"]["labels"].shape == (3, 2 * 2 * (1 + 2))
    assert set(np.unique(batch["train"]["labels"])) <= set(range(4))
    assert problem.width(recipe.head) == 4


def test_larger_episodes_in_training(source, tmp_path):
    """Four ways in training, two in tests; the host draws."""
    config = pictures(source, one=PROTOTYPICAL)
    config.episodes.train_ways, config.episodes.sampler = 4, "host"
    config.steps = 2
    run(config, tmp_path)
    with np.load(tmp_path / "one" / "0" / "predictions.npz") as kept:
        assert kept["logits"].shape == (8, 4, 4)
        assert (kept["logits"][..., 2:] == -1e9).all()
        assert (kept["predictions"] < 2).all()


def test_augmented_episodes_train_differently(source, tmp_path):
    """And the same again by the same seed."""
    found = []
    for i, augment in enumerate(((), ({"augment": "horizontal_flip"},)) * 2):
        config = pictures(source, one=PROTOTYPICAL)
        config.augment, config.steps = augment, 2
        run(config, tmp_path / str(i))
        found.append(records(tmp_path / str(i), "one")[0]["loss"])
    assert found[0] == found[2] != found[1] == found[3]


def test_frozen_features_are_computed_once(golden, source, tmp_path, monkeypatch):
    """Predictions are those of the body itself; the second time they come from disk."""
    from experiments import frozen

    monkeypatch.setenv("TL_JAX_CACHE", str(tmp_path / "cache"))
    own = {"learner": {"learner": "prototypical", "norm": "running"}, "steps": 0}
    config = pictures(source, frozen=own | {"frozen": True}, whole=own)
    config.model.spec, config.model.filters = str(golden / "vision/resnet_basic"), 0
    run(config, tmp_path / "runs")
    logits = []
    for name in ("frozen", "whole"):
        with np.load(tmp_path / "runs" / name / "0" / "predictions.npz") as kept:
            logits.append(kept["logits"])
    apart = np.abs(logits[0] - logits[1]).max()
    assert apart <= 1e-4 * np.abs(logits[1]).max()
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 1
    monkeypatch.setattr(frozen, "computed", lambda problem: 1 / 0)
    problem = make_problem(config)
    again = problem.of(make_strategy("frozen", config))
    assert again.encoded.columns["features"].shape == (48, again.base.model.width)
    config.model.form = "lax"  # computed in another way: another file
    with pytest.raises(ZeroDivisionError):
        make_problem(config).of(make_strategy("frozen", config))
