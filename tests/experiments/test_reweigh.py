"""Weighted rows by config: what each method weighs, and what a result says of it."""

import inspect
import json

import numpy as np
import pytest
from tiny_study import result, run

from configs import shift_regression
from experiments.problem import make_problem
from experiments.settings import check
from experiments.shift.measures import weighed
from experiments.shift.weightings import WEIGHTINGS
from experiments.strategies import make_strategy
from tl_jax.tree import NoMatch

BY_CLASSES = ("bbse", "em")
BY_INPUTS = sorted(set(WEIGHTINGS) - set(BY_CLASSES))


OF_ROWS = {
    name
    for name, method in WEIGHTINGS.items()
    if "labels" not in inspect.signature(method).parameters
}
"""Those that go by classes can't weigh numbers: test_shift_label_shift has them."""


def short(names=""):
    config = shift_regression.get_config(names)
    config.seeds = (0,)
    return config


@pytest.fixture(scope="module")
def problem():
    return make_problem(short())


@pytest.mark.parametrize("name", BY_INPUTS)
def test_every_method_weighs_the_source_s_training_rows(problem, name):
    own = problem.of(make_strategy(name, short(name)))
    found, rows = weighed(own, 0), own.split(0)["train"]
    assert found.column[rows].mean() == pytest.approx(1, abs=1e-5)
    assert np.ptp(found.column[rows]) > 0.5
    assert (np.delete(found.column, rows) == 1).all()
    assert found.told["method"] == name
    assert found.told["rows"] == 100
    assert 1 < found.told["effective_sample_size"] < 90
    assert sum(found.told["histogram"]["counts"]) == 100
    assert json.dumps(found.told)


def test_large_weights_are_cut_and_that_is_told(tmp_path):
    config = short("unweighted,ulsif")
    config.strategies.ulsif.reweigh = {"ulsif": {"clip": 2.0}}
    run(config, tmp_path / "runs")
    made = result(tmp_path / "runs", "ulsif")
    told = made["shift"]["weights"]
    assert told["clipped_rows"] > 0
    assert 0 < told["clipped_share"] < 1
    plain = result(tmp_path / "runs", "unweighted")
    assert "weights" not in plain["shift"]
    assert made["test"]["loss"] < 0.15 < plain["test"]["loss"]


def test_every_method_of_rows_has_a_strategy_of_the_study():
    named = {
        name
        for table in shift_regression.STRATEGIES.values()
        for name in table.get("reweigh", {})
    }
    assert named == set(BY_INPUTS)


@pytest.mark.parametrize("name", BY_CLASSES)
def test_numbers_have_no_classes_to_weigh_by(problem, name):
    config = short("ulsif")
    config.strategies.ulsif.reweigh = {name: {}}
    with pytest.raises(ValueError, match=f"reweigh.{name}.*expected classes"):
        weighed(problem.of(make_strategy("ulsif", config)), 0)


def test_unknown_names_get_the_nearest(problem):
    config = short("ulsif")
    config.strategies.ulsif.reweigh = {"ulsfi": {}}
    with pytest.raises(NoMatch, match=r"strategies\.ulsif\.reweigh.*ulsif"):
        check(config)
    config.strategies.ulsif.reweigh = {"ulsif": {"sigma": (1.0,)}}
    with pytest.raises(NoMatch, match="argument.*sigmas"):
        weighed(problem.of(make_strategy("ulsif", config)), 0)
