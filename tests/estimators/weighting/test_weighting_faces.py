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
    boosted = "Boost" in type(estimator).__name__
    return {CHECK: BOOSTED if boosted else DIGITS}


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
