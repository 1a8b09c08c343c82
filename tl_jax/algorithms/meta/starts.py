"""Heads that are made anew of each support set, and learners that begin with them."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.algorithms.meta.inner import Inner
from tl_jax.algorithms.meta.learner import Learner, Loss, Norm
from tl_jax.algorithms.meta.maml import Start, maml
from tl_jax.tree import get, one_of, put
from tl_jax.types import Array, Model, Outputs, Params, Stream

ABSENT = -1e9
"""The logit of a class that the support set has no row of."""
Fresh = Literal["zero", "prototypes"]


def proto_maml(
    model: Model, loss: Loss, inner: Inner, *, where: str = "head", **how
) -> Learner:
    """MAML whose head starts as a prototypical network's (Triantafillou et al., 2020).

    W = 2 c_k, b = -|c_k|^2, c_k the mean feature of class k's support rows; then inner
    steps of all that `inner` moves, differentiated through the head's start as well.
    The head at `where` gives its shape alone: freeze it in the outer plan, and give it
    an inner rate. `how` is `maml`'s.
    """
    return maml(model, loss, inner, start=prototype_head(where), **how)


def fine_tune(
    model: Model,
    loss: Loss,
    inner: Inner,
    *,
    fresh: Fresh = "zero",
    where: str = "head",
    norm: Norm = "running",
    **how,
) -> Learner:
    """A new head trained on the support set, as far as `inner` says with the body.

    The baseline of few-shot learning (Chen et al., 2019): whatever trained the body,
    `predicting(fine_tune(...))` evaluates it. The head begins with zeros or as
    prototypes; batch norm keeps the statistics of training. `how` is `maml`'s. Raises
    `NoMatch` for another beginning.
    """
    one_of("fresh", fresh, get_args(Fresh))
    start = zero_head(where) if fresh == "zero" else prototype_head(where)
    return maml(model, loss, inner, start=start, norm=norm, **how)


def zero_head(where: str = "head") -> Start:
    """Kernel and bias of zeros; classes without support rows can't be predicted."""

    def start(params: Params, support: Stream, look: Callable) -> Params:
        kernel, _ = _head(params, where)
        present = _members(support, kernel.shape[1]).sum(0) > 0
        bias = jnp.where(present, 0.0, ABSENT).astype(kernel.dtype)
        return _with_head(params, where, jnp.zeros_like(kernel), bias)

    return start


def prototype_head(where: str = "head") -> Start:
    """The linear head whose softmax is that of -|x - c_k|^2 (Snell et al., 2017).

    -|x - c|^2 = 2 c x - |c|^2 - |x|^2, whose last term is the same for all classes.
    """

    def start(
        params: Params, support: Stream, look: Callable[[Params], Outputs]
    ) -> Params:
        kernel, _ = _head(params, where)
        features = look(params).features
        if features.shape[1] != kernel.shape[0]:
            raise ValueError(
                f"{where}/kernel has shape {kernel.shape}, but features are "
                f"{features.shape[1]} wide: prototypes need a head that reads them"
            )
        member = _members(support, kernel.shape[1]).astype(features.dtype)
        total = member.sum(0)
        means = member.T @ features / jnp.maximum(total, 1e-12)[:, None]
        bias = jnp.where(total > 0, -jnp.square(means).sum(1), ABSENT)
        return _with_head(params, where, 2 * means.T, bias)

    return start


def _members(support: Stream, classes: int) -> Array:
    """[B C] each row's weight in its class."""
    return support["weight"][:, None] * jax.nn.one_hot(support["labels"], classes)


def _head(params: Params, where: str) -> tuple[Array, Array]:
    """Kernel [D C] and bias [C]; raises where there is none such."""
    kernel, bias = (get(params, f"{where}/{leaf}") for leaf in ("kernel", "bias"))
    if kernel.ndim != 2:
        raise ValueError(f"{where}/kernel has shape {kernel.shape}, expected [D C]")
    return kernel, bias


def _with_head(params: Params, where: str, kernel: Array, bias: Array) -> Params:
    old = get(params, where)
    new = {"kernel": kernel.astype(old["kernel"].dtype), "bias": bias}
    return put(params, where, old | new)
