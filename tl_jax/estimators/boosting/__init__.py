"""Boosting that takes what it can use from another domain's labelled rows."""

from tl_jax.estimators.boosting.face import (
    TrAdaBoost,
    TrAdaBoostR2,
    TwoStageTrAdaBoostR2,
)
from tl_jax.estimators.boosting.rounds import Boosted, Side, majority, median
from tl_jax.estimators.boosting.tradaboost import tradaboost, tradaboost_r2
from tl_jax.estimators.boosting.two_stage import TwoStage, frozen_source, two_stage

__all__ = [
    "Boosted",
    "Side",
    "TrAdaBoost",
    "TrAdaBoostR2",
    "TwoStage",
    "TwoStageTrAdaBoostR2",
    "frozen_source",
    "majority",
    "median",
    "tradaboost",
    "tradaboost_r2",
    "two_stage",
]
