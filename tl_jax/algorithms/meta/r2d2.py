"""Ridge regression as the last layer of a few-shot learner."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from tl_jax.algorithms.meta.classes import check_ways, masked, memberships, there
from tl_jax.algorithms.meta.heads import (
    Head,
    Number,
    check_positive,
    learned,
    number,
    on_model,
)
from tl_jax.algorithms.meta.learner import Learner, Norm
from tl_jax.types import Array, Model, Outputs, Params, Stream

STRENGTH = learned("strength", positive=True)
SCALE = learned("scale", positive=True)
BIAS = learned("bias")


def r2d2(
    model: Model,
    ways: int,
    *,
    strength: Number = STRENGTH,
    scale: Number = SCALE,
    bias: Number = BIAS,
    intercept: bool = True,
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """Ridge regression onto one-hot labels: s (z W) + b (Bertinetto et al., 2019).

    W = argmin sum_i w_i |z_i W - y_i|^2 + strength |W|^2

    z are the features [B D], w the support weights. By default the three numbers are
    learned by a player `adjust`: `values(strength=0.0, scale=0.0, bias=0.0)`, of which
    strength and scale are exp. `intercept` gives z a column of ones, which bears the
    penalty too, as the authors' code has it. MetaOptNet's ridge variant (Lee et al.,
    2019) is this one without intercept at a strength of 50. A class without a support
    row gets -1e9. `norm`: whose statistics batch norm uses. Raises `NoMatch` for an
    unknown norm and a missing player or leaf, ValueError for fewer than two ways and
    for constants not above 0.
    """
    head = ridge_head(ways, strength, scale, bias, intercept)
    return on_model(model, head, norm=norm, name=name)


def ridge_head(
    ways: int,
    strength: Number,
    scale: Number = 1.0,
    bias: Number = 0.0,
    intercept: bool = True,
) -> Head:
    """The head of `r2d2`."""
    check_ways(ways)
    check_positive("strength", strength)
    check_positive("scale", scale)

    def fit(params_of: Mapping[str, Params], outputs: Outputs, support: Stream) -> Any:
        member = memberships(support, ways)
        weight = member.sum(1)
        target = jax.nn.one_hot(support["labels"], ways, dtype=member.dtype)
        z = widened(outputs.features, intercept)
        kernel = ridge_kernel(z, target, weight, number(strength, params_of))
        adjust = number(scale, params_of), number(bias, params_of)
        return kernel, there(member), adjust

    def score(fitted: Any, outputs: Outputs) -> Array:
        kernel, present, (scale, bias) = fitted
        z = widened(outputs.features, intercept)
        found = jnp.matmul(z, kernel, precision="highest")
        return masked(scale * found + bias, present)

    return Head(fit, score)


def widened(z: Array, intercept: bool) -> Array:
    """z with a column of ones if there is an intercept. [B D] -> [B D+1]."""
    return jnp.pad(z, ((0, 0), (0, 1)), constant_values=1) if intercept else z


def ridge_kernel(z: Array, target: Array, weight: Array, strength: Array) -> Array:
    """The kernel [D C] of weighted ridge regression, by the smaller system.

    Z^T (Z Z^T + s I)^-1 Y for fewer rows than columns (Woodbury's identity), else
    (Z^T Z + s I)^-1 Z^T Y, with rows scaled by sqrt(w). Differentiable any number of
    times in z, target and strength. z [B D], target [B C], weight [B].
    """
    root = jnp.sqrt(weight)[:, None].astype(z.dtype)
    z, target = root * z, root * target
    rows, width = z.shape
    if rows < width:
        gram = jnp.matmul(z, z.T, precision="highest")
        return jnp.matmul(z.T, _solved(gram, target, strength), precision="highest")
    gram = jnp.matmul(z.T, z, precision="highest")
    return _solved(gram, jnp.matmul(z.T, target, precision="highest"), strength)


def _solved(gram: Array, right: Array, strength: Array) -> Array:
    """(gram + strength I)^-1 right."""
    shifted = gram + strength * jnp.eye(len(gram), dtype=gram.dtype)
    return cho_solve(cho_factor(shifted, lower=True), right)
