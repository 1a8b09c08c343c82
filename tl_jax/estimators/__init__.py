"""Closed-form and convex fits: plain functions `fit(features, labels, ...)`."""

from tl_jax.estimators.face import LinearProbe
from tl_jax.estimators.linear_probe import fit
from tl_jax.estimators.ridge import ridge
from tl_jax.estimators.standard import Probe

__all__ = ["LinearProbe", "Probe", "fit", "ridge"]
