"""Weighted fits and boosting by scikit-learn's protocol."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from tl_jax.data import shift_toy
from tl_jax.estimators import RidgeProbe
from tl_jax.estimators.boosting import (
    TrAdaBoost,
    TrAdaBoostR2,
    TwoStageTrAdaBoostR2,
)
from tl_jax.estimators.weighting import Reweighted, ReweightedRegressor, describe, kmm
from tl_jax.tree import NoMatch

DIGITS = "asks for 7 digits, which float32 does not have"
BOOSTED = "each round magnifies the 7th digit, which float32 does not have"
CHECK = "check_sample_weight_equivalence_on_dense_data"


def expected(estimator):
    return {CHECK: BOOSTED if "Boost" in type(estimator).__name__ else DIGITS}


@parametrize_with_checks(
    [
        Reweighted(),
        ReweightedRegressor(),
        RidgeProbe(),
        TrAdaBoost(rounds=2),
        TrAdaBoostR2(rounds=2),
        TwoStageTrAdaBoostR2(stages=2, rounds=2, folds=2),
    ],
    expected_failed_checks=expected,
)
def test_keeps_the_protocol_of_scikit_learn(estimator, check):
    check(estimator)


def sides(seed=0, rows=100):
    rng = np.random.default_rng(seed)
    x, y = shift_toy.draw("train", rows, rng)
    return x.astype(np.float32), y, shift_toy.draw("test", rows, rng)[0]


def test_a_weighted_fit_is_the_base_on_those_weights():
    x, y, target = sides()
    model = ReweightedRegressor(LinearRegression(), "kmm", {"bound": 10}).fit(
        x, y, target
    )
    weight = kmm(x, target.astype(np.float32), bound=10).values
    alone = LinearRegression().fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(model.predict(x), alone.predict(x), atol=1e-6)
    assert model.report_.effective == pytest.approx(describe(weight).effective)
    far = np.mean((shift_toy.curve(target[:, 0]) - model.predict(target)) ** 2)
    plain = ReweightedRegressor(LinearRegression()).fit(x, y)
    assert far < 0.3 * np.mean(
        (shift_toy.curve(target[:, 0]) - plain.predict(target)) ** 2
    )
    assert plain.weights_ is None


def test_given_weights_multiply_and_large_ones_are_cut():
    x, y, target = sides(1)
    given = np.linspace(0.5, 2, len(x))
    model = ReweightedRegressor(LinearRegression(), "ulsif", clip=1.5)
    model.fit(x, y, target, sample_weight=given)
    values = np.minimum(model.weights_.values, 1.5 * model.weights_.values.mean())
    alone = LinearRegression().fit(x, y, sample_weight=values * given)
    np.testing.assert_allclose(model.predict(x), alone.predict(x), atol=1e-6)
    assert 0 < model.clipped_.rows < len(x)
    assert model.report_.effective < len(x)


def test_a_classifier_is_searched_over_its_base():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)).astype(np.float32)
    y = np.where(x[:, 0] > 0, "in", "out")
    model = Reweighted(TrAdaBoost(rounds=2), "nearest")
    assert is_classifier(model)
    assert is_regressor(RidgeProbe())
    grid = GridSearchCV(Reweighted(), {"method": ["nearest", "kmm"]}, cv=2)
    assert grid.fit(x, y, X_target=x + 0.5).best_score_ > 0.7
    inner = clone(model).set_params(estimator__rounds=3)
    assert inner.estimator.rounds == 3
    assert model.estimator.rounds == 2
    assert set(model.fit(x, y, x[:20]).predict(x)) == {"in", "out"}


def test_what_does_not_fit_is_refused():
    x, y, target = sides()
    with pytest.raises(NoMatch, match="ulsif"):
        ReweightedRegressor(method="ulsfi").fit(x, y, target)
    with pytest.raises(ValueError, match="X_target has 2 features, X has 1"):
        ReweightedRegressor().fit(x, y, np.ones((4, 2)))
    with pytest.raises(ValueError, match="need one another"):
        TrAdaBoostR2().fit(x, y, target)
    with pytest.raises(ValueError, match="3 y_target for 100"):
        TrAdaBoostR2().fit(x, y, target, y[:3])
    with pytest.raises(ValueError, match="target_weight has shape"):
        TwoStageTrAdaBoostR2().fit(x, y, target, y, target_weight=np.ones(2))
    with pytest.raises(ValueError, match="'c', which y lacks"):
        TrAdaBoost().fit(x, y > 0, target, ["c"] * len(target))
