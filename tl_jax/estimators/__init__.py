"""Closed-form and convex fits: plain functions `fit(features, labels, ...)`."""

from tl_jax.estimators.face import LinearProbe
from tl_jax.estimators.linear_probe import fit
from tl_jax.estimators.nearest_face import NearestProbe
from tl_jax.estimators.nearest_head import Neighbours, nearest_head
from tl_jax.estimators.neighbours import nearest_votes
from tl_jax.estimators.relation import category_relation, temperature
from tl_jax.estimators.ridge import ridge
from tl_jax.estimators.ridge_face import RidgeProbe
from tl_jax.estimators.standard import Probe

__all__ = [
    "LinearProbe",
    "NearestProbe",
    "Neighbours",
    "Probe",
    "RidgeProbe",
    "category_relation",
    "fit",
    "nearest_head",
    "nearest_votes",
    "ridge",
    "temperature",
]
