"""The linear probe of real targets: ridge regression in closed form."""

import jax.numpy as jnp

from tl_jax.estimators import checks
from tl_jax.estimators.standard import Probe, choose, standard
from tl_jax.types import Array


def ridge(
    features: Array,
    targets: Array,
    strengths: tuple[float, ...],
    validation: tuple[Array, Array] | None = None,
    *,
    weight: Array | None = None,
) -> Probe:
    """Ridge regression on standardised features, all strengths from one SVD.

    sum_n w_n |y_n - z_n W - b|^2 / sum_n w_n + strength |W|^2   (Hoerl and Kennard,
    1970)

    z has mean 0 and deviation 1 over the weighted training examples; b bears no
    penalty. The score is minus the mean squared error on `validation`; without it,
    leave-one-out, e_n / (1 - h_n) with the diagonal h of the hat matrix (Allen, 1974),
    which holds the standardisation and strength sum_n w_n of all rows fixed. Of equal
    scores the strongest penalty is kept. scikit-learn's alpha is strength sum_n w_n.

    features [N D], targets [N] or [N C], weight [N], validation (features [V D],
    targets [V] or [V C]). Targets [N] give a kernel [D 1]. Raises ValueError for
    shapes that do not fit and for values that are not finite (with the row).
    """
    weight = jnp.ones(len(targets)) if weight is None else weight
    checks.check_shapes(features, targets, weight)
    checks.check_strengths(strengths)
    checks.check_finite("features", features)
    checks.check_finite("targets", targets)
    checks.check_weight(weight)
    checks.check_validation(features, validation)
    if validation is None and len(targets) < 2:
        raise ValueError("leave-one-out needs at least two examples")
    features, targets = jnp.asarray(features, jnp.float32), _columns(targets)
    weight = jnp.asarray(weight, jnp.float32)
    weight = weight / weight.sum()
    scale = standard(features, weight)
    kernels, mean, errors = _solve(scale(features), targets, weight, strengths)
    kernels, biases = scale.fold(kernels, jnp.broadcast_to(mean, kernels[:, 0].shape))
    if validation is None:
        scores = -(weight[:, None] * errors**2).sum(1).mean(-1)
    else:
        inputs, truth = jnp.asarray(validation[0], jnp.float32), _columns(validation[1])
        if truth.shape[1] != targets.shape[1]:
            raise ValueError(
                f"validation targets have {truth.shape[1]} columns, "
                f"training targets {targets.shape[1]}"
            )
        checks.check_finite("validation targets", validation[1])
        guess = inputs @ kernels + biases[:, None]
        scores = -((guess - truth) ** 2).mean((1, 2))
    return choose(kernels, biases, strengths, scores, jnp.ones(len(scores), bool))


def _columns(targets: Array) -> Array:
    """[N] or [N C] -> [N C] float32."""
    targets = jnp.asarray(targets, jnp.float32)
    if targets.ndim not in (1, 2):
        raise ValueError(f"targets have shape {targets.shape}, expected [N] or [N C]")
    return targets[:, None] if targets.ndim == 1 else targets


def _solve(
    z: Array, targets: Array, weight: Array, strengths: tuple[float, ...]
) -> tuple[Array, Array, Array]:
    """Kernels [S D C], the targets' mean [C], leave-one-out errors [S N C]."""
    mean = weight @ targets
    centred = targets - mean
    root = jnp.sqrt(weight)[:, None]
    u, s, vt = jnp.linalg.svd(root * z, full_matrices=False)
    along = u.T @ (root * centred)
    floor = jnp.finfo(jnp.float32).eps

    def one(strength: float) -> tuple[Array, Array]:
        shrunk = s**2 / (s**2 + strength)
        kernel = vt.T @ ((s / (s**2 + strength))[:, None] * along)
        leverage = weight + (u**2) @ shrunk
        rest = jnp.maximum(1.0 - leverage, floor)[:, None]
        return kernel, (centred - z @ kernel) / rest

    kernels, errors = zip(*[one(strength) for strength in strengths], strict=True)
    return jnp.stack(kernels), mean, jnp.stack(errors)
