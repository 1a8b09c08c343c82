"""Rate trials: every rate is tried alike, on validation alone."""

import json

import pytest
from tiny_study import small, write

from experiments.tune import chosen, main, tune


@pytest.fixture(scope="module")
def tried(tiny_model, tmp_path_factory):
    """Two strategies at two rates each; the workdir and what was found."""
    folder = tmp_path_factory.mktemp("tune")
    config = small(tiny_model, write(folder, "classification", ".csv"), "bias")
    workdir = folder / "trials"
    return workdir, config, tune(config, workdir, [0.5, 2.0], lambda: False)


def test_every_strategy_gets_as_many_trials(tried):
    _, config, found = tried
    assert {name: list(trials) for name, trials in found.items()} == {
        name: [config.strategies[name].rate * f for f in (0.5, 2.0)]
        for name in ("bias",)
    }


def test_the_test_split_is_never_read(tried):
    workdir, _, found = tried
    for name, trials in found.items():
        for rate, scores in trials.items():
            path = workdir / name / f"{rate:g}" / "0" / "result.json"
            result = json.loads(path.read_text())
            test = {k: v for k, v in result["test"].items() if k != "intervals"}
            assert test == pytest.approx(scores)


def test_finished_trials_are_kept(tried):
    workdir, config, found = tried
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("result.json")}
    assert tune(config, workdir, [0.5, 2.0], lambda: False) == found
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("result.json")} == before


def test_the_best_rate_wins_by_score_then_loss():
    trials = {
        1.0: {"accuracy": 0.5, "loss": 0.2},
        2.0: {"accuracy": 0.7, "loss": 0.9},
        3.0: {"accuracy": 0.7, "loss": 0.4},
    }
    assert chosen(trials, "accuracy") == 3.0


def test_bad_factors_are_told(capsys):
    assert main(["tune", "--factors=1,x"]) == 2
    assert "could not convert string to float: 'x'" in capsys.readouterr().err
