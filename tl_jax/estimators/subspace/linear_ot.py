"""Optimal transport between two Gaussians: a linear map in closed form."""

import jax.numpy as jnp

from tl_jax.estimators.subspace import moments
from tl_jax.estimators.subspace.maps import Affine, Alignment, Same
from tl_jax.types import Array


def linear_ot(
    source: Array,
    target: Array,
    *,
    ridge: float = 1e-6,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
) -> Alignment:
    """Monge's map from the source's Gaussian to the target's (Flamary et al., 2019).

    x -> (x - m_s) A + m_t,   A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2

    S, T: covariances over N and M, plus `ridge` I. Of all maps that send N(m_s, S) to
    N(m_t, T) it moves the mass least (Knott and Smith, 1984); A is symmetric.

    This is POT's `LinearTransport` and skada's `LinearOTMapping`, whose ridge is 1e-8
    and 1.

    source [N D], target [M D], weights [N] and [M] (0 leaves a row out); holds [D D].
    Raises ValueError for a ridge that is not positive, shapes that do not fit and
    values that are not finite.
    """
    if not ridge > 0:
        raise ValueError(f"ridge is {ridge}, expected more than 0")
    pair = moments.both(source, target, source_weight, target_weight)
    here, there = (moments.spectrum(rows, unbiased=False) for rows in pair)
    eye = jnp.eye(here.axes.shape[0], dtype=here.axes.dtype)
    root = moments.power(here, ridge, 0.5)(eye)
    back = moments.power(here, ridge, -0.5)(eye)
    _, sizes, axes = jnp.linalg.svd(moments.power(there, ridge, 0.5)(root).T)
    half = axes @ back
    kernel = (half.T * sizes) @ half
    return Alignment(
        Affine(moments.mean(pair[0]), kernel, moments.mean(pair[1])), Same()
    )
