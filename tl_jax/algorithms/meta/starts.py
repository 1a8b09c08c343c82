"""Heads that are made anew of each support set, and learners that begin with them."""

from collections.abc import Callable
from typing import Literal, get_args

import jax.numpy as jnp

from tl_jax.algorithms.meta.classes import class_means, masked, memberships, there
from tl_jax.algorithms.meta.inner import Inner
from tl_jax.algorithms.meta.learner import Learner, Loss, Norm
from tl_jax.algorithms.meta.maml import Start, maml
from tl_jax.tree import get, one_of, put
from tl_jax.types import Array, Model, Outputs, Params, Stream

Fresh = Literal["zero", "prototypes"]


def proto_maml(
    model: Model,
    loss: Loss,
    inner: Inner,
    *,
    where: str = "head",
    test_steps: int | None = None,
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """MAML whose head starts as a prototypical network's (Triantafillou et al., 2020).

    W = 2 c_k, b = -|c_k|^2, c_k the mean feature of class k's support rows; then inner
    steps of all that `inner` moves, differentiated through the head's start as well.
    The head at `where` gives its shape alone: freeze it in the outer plan, and give it
    an inner rate. Everything else is `maml`'s.
    """
    how = dict(test_steps=test_steps, norm=norm, name=name)
    return maml(model, loss, inner, start=prototype_head(where), **how)


def fine_tune(
    model: Model,
    loss: Loss,
    inner: Inner,
    *,
    fresh: Fresh = "zero",
    where: str = "head",
    test_steps: int | None = None,
    norm: Norm = "running",
    name: str = "model",
) -> Learner:
    """A new head trained on the support set, with as much of the body as `inner` says.

    The baseline of few-shot learning (Chen et al., 2019): whatever trained the body,
    `predicting(fine_tune(...))` evaluates it. The head begins with zeros or as
    prototypes; batch norm keeps the statistics of training. Everything else is
    `maml`'s. Raises `NoMatch` for another beginning.
    """
    one_of("fresh", fresh, get_args(Fresh))
    start = zero_head(where) if fresh == "zero" else prototype_head(where)
    how = dict(test_steps=test_steps, norm=norm, name=name)
    return maml(model, loss, inner, start=start, **how)


def zero_head(where: str = "head") -> Start:
    """Kernel and bias of zeros; classes without support rows can't be predicted."""

    def start(params: Params, support: Stream, look: Callable) -> Params:
        kernel, _ = _head(params, where)
        present = there(memberships(support, kernel.shape[1]))
        zeros = jnp.zeros_like(kernel)
        return _with_head(params, where, zeros, masked(zeros[0], present))

    return start


def present_head(where: str = "head") -> Start:
    """The learned head, in which classes without support rows can't be predicted.

    For MAML on tasks of varying ways: their biases are -1e9, and get no gradient.
    """

    def start(params: Params, support: Stream, look: Callable) -> Params:
        kernel, bias = _head(params, where)
        present = there(memberships(support, kernel.shape[1]))
        return _with_head(params, where, kernel, masked(bias, present))

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
        member = memberships(support, kernel.shape[1]).astype(features.dtype)
        means = class_means(features, member)
        bias = masked(-jnp.square(means).sum(1), there(member))
        return _with_head(params, where, 2 * means.T, bias)

    return start


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
