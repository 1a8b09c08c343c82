"""Weights under which source rows stand for target rows, and what they cost."""

from tl_jax.estimators.weighting.face import (
    METHODS,
    Reweighted,
    ReweightedRegressor,
)
from tl_jax.estimators.weighting.kliep import kliep
from tl_jax.estimators.weighting.kmm import kmm
from tl_jax.estimators.weighting.label_shift import LabelShift, bbse, em
from tl_jax.estimators.weighting.nearest import nearest
from tl_jax.estimators.weighting.propensity import propensity
from tl_jax.estimators.weighting.report import (
    Clipped,
    Prepared,
    Report,
    clip,
    describe,
    effective_size,
    normalise,
    prepared,
)
from tl_jax.estimators.weighting.ulsif import rulsif, ulsif
from tl_jax.estimators.weighting.weights import Weights

__all__ = [
    "METHODS",
    "Clipped",
    "LabelShift",
    "Prepared",
    "Report",
    "Reweighted",
    "ReweightedRegressor",
    "Weights",
    "bbse",
    "clip",
    "describe",
    "effective_size",
    "em",
    "kliep",
    "kmm",
    "nearest",
    "normalise",
    "prepared",
    "propensity",
    "rulsif",
    "ulsif",
]
