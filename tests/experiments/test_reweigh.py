"""Weighted rows by config: each method's one short run, and what its result says."""

import json

import pytest
from tiny_study import result, run

from configs import shift_regression
from experiments.settings import check
from experiments.shift.weightings import WEIGHTINGS
from tl_jax.tree import NoMatch


def short(names="", **fields):
    config = shift_regression.get_config(names)
    config.seeds = (0,)
    config.steps = 20
    config.every.evaluate = 20
    for name, value in fields.items():
        config[name] = value
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("reweigh") / "runs"
    run(short(), workdir)
    return workdir


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_a_result_says_what_its_rows_weighed(study, name):
    told = result(study, name)["shift"]["weights"]
    assert told["method"] == name
    assert told["rows"] == 100
    assert 1 < told["effective_sample_size"] < 90
    assert sum(told["histogram"]["counts"]) == 100
    assert json.dumps(told)


def test_without_weights_nothing_is_told(study):
    assert "weights" not in result(study, "unweighted")["shift"]


def test_large_weights_are_cut_and_that_is_told(tmp_path):
    config = short("ulsif")
    config.strategies.ulsif.reweigh = {"ulsif": {"clip": 2.0}}
    run(config, tmp_path / "runs")
    told = result(tmp_path / "runs", "ulsif")["shift"]["weights"]
    assert told["clipped_rows"] > 0
    assert 0 < told["clipped_share"] < 1


def test_every_method_has_a_strategy_of_the_study():
    named = {
        name
        for table in shift_regression.STRATEGIES.values()
        for name in table.get("reweigh", {})
    }
    assert named == set(WEIGHTINGS)


def test_unknown_methods_get_the_nearest():
    config = short("ulsif")
    config.strategies.ulsif.reweigh = {"ulsfi": {}}
    with pytest.raises(NoMatch, match=r"strategies\.ulsif\.reweigh.*ulsif"):
        check(config)
