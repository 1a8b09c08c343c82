"""What features' norms and singular values cost."""

import chex
import jax
import jax.numpy as jnp

from tl_jax.losses.adversarial import weighted_mean
from tl_jax.types import Array


def lengths(features: Array) -> Array:
    """Euclidean norms of rows, whose gradient at 0 is 0. [B D] -> [B] float32."""
    chex.assert_rank(features, 2)
    square = jnp.square(features.astype(jnp.float32)).sum(-1)
    real = square > 0
    return jnp.where(real, jnp.sqrt(jnp.where(real, square, 1)), 0)


def hard_norm(features: Array, weight: Array, radius: float = 25.0) -> Array:
    """(mean_i |f_i| - R)^2 (Xu et al., 2019, their HAFN).

    features [B D], weight [B], 0 of padding -> []. As in the authors' code it is the
    batch's mean that is drawn to R. TLlib has no HAFN.
    """
    return jnp.square(weighted_mean(lengths(features), weight) - radius)


def step_norm(features: Array, weight: Array, delta: float = 1.0) -> Array:
    """mean_i (|f_i| - (sg|f_i| + delta))^2 (Xu et al., 2019, their SAFN).

    sg holds still: the value is delta^2 always, and each row's norm is pushed up by
    2 delta. features [B D], weight [B], 0 of padding -> []. The same as TLlib's
    `AdaptiveFeatureNorm`.
    """
    norm = lengths(features)
    return weighted_mean(jnp.square(norm - jax.lax.stop_gradient(norm) - delta), weight)


def largest_singular(features: Array, weight: Array, k: int = 1) -> Array:
    """sum_{i <= k} s_i^2, the k largest singular values (Chen et al., 2019, BSP).

    Rows of weight 0 are left out, others count alike. features [B D], weight [B] -> [].
    TLlib's `BatchSpectralPenalizationLoss` is k = 1, of source and target added. Raises
    ValueError for a k outside 1..min(B, D).
    """
    chex.assert_rank(features, 2)
    most = min(features.shape)
    if not 1 <= k <= most:
        raise ValueError(f"k is {k}, expected 1..{most}: {list(features.shape)} rows")
    rows = jnp.where((weight > 0)[:, None], features.astype(jnp.float32), 0)
    values = jnp.linalg.svd(rows, compute_uv=False)
    return jnp.square(values[:k]).sum()
