"""Correlation alignment in closed form."""

import jax.numpy as jnp

from tl_jax.estimators.subspace import moments
from tl_jax.estimators.subspace.maps import Alignment, Recolour, Same
from tl_jax.types import Array


def coral(
    source: Array,
    target: Array,
    *,
    shrinkage: float = 1.0,
    means: bool = False,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
) -> Alignment:
    """Give source features the target's covariance (Sun et al., 2016).

    x -> x (C_s + s I)^-1/2 (C_t + s I)^1/2        C = sum_n x_n x_n^T / (N - 1)

    of centred rows, s the `shrinkage`; target rows stay. Sun et al. standardise each
    domain's features first and take s = 1: without that, choose s in the features'
    units. At 0 directions without source variance are left out. With `means` the
    source's mean moves to the target's as well. The covariances are kept as factors of
    rank N, so that D = 5,000 needs no [D D].

    ADAPT's CORAL is this one with s = 1e-5. skada's divides by N, shrinks towards a
    multiple of I by Ledoit and Wolf's rule, and subtracts each domain's mean.

    source [N D], target [M D], weights [N] and [M] (0 leaves a row out). Raises
    ValueError for a negative shrinkage, shapes that do not fit and values that are not
    finite.
    """
    if not shrinkage >= 0:
        raise ValueError(f"shrinkage is {shrinkage}, expected at least 0")
    pair = moments.both(source, target, source_weight, target_weight)
    here, there = (moments.spectrum(rows) for rows in pair)
    none = jnp.zeros(here.axes.shape[0], here.axes.dtype)
    old, new = (moments.mean(rows) if means else none for rows in pair)
    whiten = moments.power(here, shrinkage, -0.5)
    colour = moments.power(there, shrinkage, 0.5)
    return Alignment(Recolour(old, whiten, colour, new), Same())
