"""Weighted means and covariances of two domains, as rows and as factors."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from tl_jax.estimators import checks
from tl_jax.estimators.subspace.maps import Power
from tl_jax.types import Array


class Rows(NamedTuple):
    """One domain: features [N D] and weight [N], a weight being a number of copies."""

    features: Array
    weight: Array


def rows_of(name: str, features: Any, weight: Any = None) -> Rows:
    """Checked rows in the widest float that is on: float64 under `jax.enable_x64`.

    Raises ValueError for shapes that do not fit, values that are not finite (with the
    row) and weights that are negative or all 0.
    """
    if np.ndim(features) != 2 or 0 in np.shape(features):
        shape = np.shape(features)
        raise ValueError(f"{name} features have shape {shape}, expected [N D]")
    weight = np.ones(len(features), np.float32) if weight is None else weight
    checks.check_shapes(features, weight, weight, name)
    checks.check_finite(f"{name} features", features)
    checks.check_weight(weight)
    return Rows(jnp.asarray(features, float), jnp.asarray(weight, float))


def both(
    source: Any, target: Any, source_weight: Any = None, target_weight: Any = None
) -> tuple[Rows, Rows]:
    """Checked rows of both domains, of one width."""
    pair = (
        rows_of("source", source, source_weight),
        rows_of("target", target, target_weight),
    )
    one, two = (rows.features.shape[1] for rows in pair)
    if one != two:
        raise ValueError(
            f"target features are {two} wide, source features {one}: "
            "both domains need the same columns"
        )
    return pair


def mean(rows: Rows) -> Array:
    """[D]"""
    return rows.weight @ rows.features / rows.weight.sum()


def centred(rows: Rows, unbiased: bool) -> Array:
    """[N D] whose product with itself is the covariance; 0 for rows of weight 0.

    With weights w of sum 1 it is sum_n w_n x_n x_n^T of centred rows, `unbiased` over
    1 - sum_n w_n^2: (N - 1) / N where all weights are equal, whatever their sum.
    """
    weight = rows.weight / rows.weight.sum()
    if unbiased:
        left = 1 - (weight**2).sum()
        weight = weight / jnp.maximum(left, jnp.finfo(left.dtype).eps)
    return jnp.sqrt(weight)[:, None] * (rows.features - mean(rows))


class Spectrum(NamedTuple):
    """Principal axes [D R] and their variances [R], largest first."""

    axes: Array
    variances: Array


def spectrum(rows: Rows, unbiased: bool = True) -> Spectrum:
    """Principal axes by a thin SVD; each axis's largest entry is positive."""
    _, deviations, axes = jnp.linalg.svd(centred(rows, unbiased), full_matrices=False)
    largest = jnp.take_along_axis(axes, jnp.abs(axes).argmax(1)[:, None], axis=1)
    return Spectrum((jnp.where(largest < 0, -1, 1) * axes).T, deviations**2)


def power(spectrum: Spectrum, ridge: Array, exponent: float) -> Power:
    """C^exponent of C = V diag(variances) V^T + ridge I.

    A negative power of what has no variance at all is 0, as in a pseudo-inverse.
    """
    whole = spectrum.variances + ridge
    noise = max(spectrum.axes.shape) * jnp.finfo(whole.dtype).eps
    floor = noise**2 * whole[0]
    rest = _power(jnp.asarray(ridge, whole.dtype), floor, exponent)
    return Power(spectrum.axes, _power(whole, floor, exponent) - rest, rest)


def _power(values: Array, floor: Array, exponent: float) -> Array:
    kept = values > (floor if exponent < 0 else 0)
    return jnp.where(kept, jnp.where(kept, values, 1.0) ** exponent, 0.0)
