"""MetaOptNet: a multi-class support vector machine as the last layer."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

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
from tl_jax.algorithms.meta.simplex_qp import simplex_qp
from tl_jax.losses.similarity import products
from tl_jax.types import Array, Model, Outputs, Params, Stream

SCALE = learned("scale", positive=True)


def metaoptnet(
    model: Model,
    ways: int,
    *,
    cost: float = 0.1,
    scale: Number = SCALE,
    damping: float = 1.0,
    steps: int = 15,
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """A multi-class SVM on the features: s z sum_i a_i z_i (Lee et al., 2019).

    min_a 1/2 sum_k |sum_i a_ik z_i|^2 + damping / 2 |a|^2 - sum_i a_{i y_i}
    where a_ik <= cost w_i [y_i = k] and sum_k a_ik = 0   (Crammer and Singer, 2001)

    z are the features [B D], w the support weights. The damping of 1 is the authors'
    code's. By default the scale s is learned by a player `adjust`, `values(scale=0.0)`,
    as exp of it. `steps` of an interior-point method, and its implicit derivatives. A
    class without a support row gets -1e9. Their ridge variant is `r2d2` without
    intercept. `norm`: whose statistics batch norm uses. Raises `NoMatch` for an
    unknown norm and a missing player or leaf, ValueError for fewer than two ways and
    for constants not above 0.
    """
    head = svm_head(ways, cost, scale, damping, steps)
    return on_model(model, head, norm=norm, name=name)


def svm_head(
    ways: int,
    cost: float = 0.1,
    scale: Number = 1.0,
    damping: float = 1.0,
    steps: int = 15,
) -> Head:
    """The head of `metaoptnet`."""
    check_ways(ways)
    for kind, value in (("cost", cost), ("scale", scale), ("damping", damping)):
        check_positive(kind, value)
    check_positive("steps", steps)

    def fit(params_of: Mapping[str, Params], outputs: Outputs, support: Stream) -> Any:
        member = memberships(support, ways)
        weight = member.sum(1)
        own = jax.nn.one_hot(support["labels"], ways, dtype=outputs.features.dtype)
        dual = svm_dual(
            outputs.features, own, weight, there(member), cost, damping, steps
        )
        scale_ = number(scale, params_of)
        return outputs.features, scale_ * dual, there(member)

    def score(fitted: Any, outputs: Outputs) -> Array:
        z, dual, present = fitted
        near = products(outputs.features, z)
        return masked(jnp.matmul(near, dual, precision="highest"), present)

    return Head(fit, score)


def svm_dual(
    z: Array,
    own: Array,
    weight: Array,
    present: Array,
    cost: float,
    damping: float,
    steps: int,
) -> Array:
    """a [N C] of the docstring above, 0 for rows of weight 0 and for absent classes.

    With b = cost w y - a each row of b lies on a simplex. z [N D], own [N C] one-hot,
    weight [N], present [C].
    """
    counts = ~(weight <= 0)
    between = counts[:, None] & counts
    gram = jnp.where(between, products(z, z), 0)
    q = gram + damping * jnp.eye(len(z), dtype=z.dtype)
    total = (cost * jnp.where(counts, weight, 1)).astype(z.dtype)
    most = total[:, None] * own
    linear = own - jnp.matmul(q, most, precision="highest")
    free = jnp.broadcast_to(present | ~present.any(), own.shape)
    b = simplex_qp(q, linear, total, free, steps=steps)
    return jnp.where(counts[:, None] & free, most - b, 0)
