"""Normalisation, always computed in float32 at least."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.patches import patched
from tl_jax.nn.rules import Rules, by_hand
from tl_jax.tree import node
from tl_jax.types import Array, Params


def layer_norm(site: Params, x: Array, epsilon: float, rules: Rules = "hand") -> Array:
    """(x - mean) / sqrt(var + epsilon) * scale + bias over D (Ba et al., 2016).

    x [... D] -> [... D], in x's dtype, differentiated by `rules` (`nn.rules`).
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    own = standard if by_hand(rules) else plain_standard
    y = own(epsilon, wide) * site["scale"]
    if "bias" in site:
        y = y + site["bias"]
    return patched("output", site, y, x=x).astype(x.dtype)


def rms_norm(site: Params, x: Array, epsilon: float) -> Array:
    """x / sqrt(mean(x^2) + epsilon) * scale over D (Zhang and Sennrich, 2019).

    x [... D] -> [... D], in x's dtype.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    power = jnp.square(wide).mean(-1, keepdims=True)
    y = wide * lax.rsqrt(power + epsilon) * site["scale"]
    return patched("output", site, y, x=x).astype(x.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def standard(epsilon: float, x: Array) -> Array:
    """x [... D] less its mean, over its standard deviation.

    By its own rule dy = (dx - mean(dx) - y mean(y dx)) / s the backward pass keeps y
    and s and reads them once.
    """
    return plain_standard(epsilon, x)


def plain_standard(epsilon: float, x: Array) -> Array:
    """The same with JAX's own derivatives."""
    return _standard(epsilon, x)[0]


@standard.defjvp
def _standard_rule(epsilon, primals, tangents) -> tuple[Array, Array]:
    y, inverse = _standard(epsilon, *primals)
    (dx,) = tangents
    along = (y * dx).mean(-1, keepdims=True)
    return y, (dx - dx.mean(-1, keepdims=True) - y * along) * inverse


def _standard(epsilon: float, x: Array) -> tuple[Array, Array]:
    centred = x - x.mean(-1, keepdims=True)
    inverse = lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)
    return centred * inverse, inverse


@node
class Running:
    """Batch-norm statistics of a site that move in training."""

    mean: Array
    var: Array


@node
class Fixed:
    """Batch-norm statistics of a frozen site: used everywhere, moved by nobody."""

    mean: Array
    var: Array


@node
class Watched:
    """Kept statistics that normalise while the rows are measured, each by itself."""

    mean: Array
    var: Array


@node
class OwnRows:
    """Statistics that are the batch's own, of rows that count by a weight [B]."""

    mean: Array
    var: Array
    weight: Array


Statistics = Running | Fixed | Watched | OwnRows


def batch_norm(
    site: Params,
    stats: Statistics,
    x: Array,
    *,
    norm: Literal["running", "batch", "own"] = "running",
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    groups: int = 1,
    rules: Rules = "hand",
) -> tuple[Array, Statistics]:
    """Normalise by statistics of the batch or kept ones (Ioffe and Szegedy, 2015).

    `norm="batch"` uses this batch's mean and biased variance and returns moved
    statistics, kept <- momentum kept + (1 - momentum) batch, the variance unbiased.
    `norm="own"` normalises alike and returns the batch's own statistics, gradients and
    all: what follows under "running" is normalised as this batch was.
    `Fixed` statistics are used as they are, whatever `norm` says. So are `Watched`
    ones, and what comes back are each row's mean and variance [B D]; `OwnRows` give
    way to those of the batch by their weights, which come back: padding counts nothing.

    Over many devices the batch is the global one; `groups` normalises each of that
    many equal parts of it by itself, and moves by the mean of their statistics: a
    batch norm per replica, or a "ghost" one (Hoffer et al., 2017).

    `rules` say how batch statistics are differentiated (`nn.rules`), in all modes.

    x [B ... D] -> ([B ... D], stats). Raises ValueError if the groups don't divide B.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    scale, bias = site["scale"], site["bias"]
    if norm != "running" and isinstance(stats, Running):
        if len(x) % groups:
            raise ValueError(f"{len(x)} rows do not divide into {groups} norm groups")
        if groups > 1:  # an axis of one group would make XLA's sums on CPUs slower
            wide = wide.reshape(groups, -1, *x.shape[1:])
        over = tuple(range(int(groups > 1), wide.ndim - 1))
        count = x.size // (groups * x.shape[-1])
        mean, var = wide.mean(over, keepdims=True), wide.var(over, keepdims=True)
        kept = mean.reshape(groups, -1).mean(0), var.reshape(groups, -1).mean(0)
        unbiased = kept[1] * (count / max(count - 1, 1))
        own = normalised if by_hand(rules) else plain_normalised
        y = own(epsilon, over, wide, scale, bias)
        stats = (
            Running(*kept)
            if norm == "own"
            else Running(
                lax.stop_gradient(momentum * stats.mean + (1 - momentum) * kept[0]),
                lax.stop_gradient(momentum * stats.var + (1 - momentum) * unbiased),
            )
        )
    else:
        used, stats = _by_rows(stats, wide)
        y = (wide - used.mean) * (lax.rsqrt(used.var + epsilon) * scale) + bias
    y = y.reshape(x.shape)
    return patched("output", site, y, x=x).astype(x.dtype), stats


def pooled(rows: Running, weight: Array) -> Running:
    """Mean and variance over rows of which each has its own, [B D] -> [D].

    The variance is the mean one within rows plus that of their means. weight [B].
    """
    share = (weight / jnp.maximum(weight.sum(), 1e-12))[:, None]

    def over(values: Array) -> Array:
        return jnp.where(share > 0, share * values, 0).sum(0)

    mean = over(rows.mean)
    return Running(mean, over(rows.var + jnp.square(rows.mean - mean)))


def _by_rows(stats: Statistics, x: Array) -> tuple[Any, Statistics]:
    """(statistics that normalise, those that go back), where rows may be asked for."""
    if not isinstance(stats, Watched | OwnRows):
        return stats, stats
    over = tuple(range(1, x.ndim - 1))
    rows = Running(x.mean(over), x.var(over))
    if isinstance(stats, Watched):
        return stats, lax.stop_gradient(rows)
    own = pooled(rows, stats.weight)
    return own, own


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def normalised(
    epsilon: float, over: tuple[int, ...], x: Array, scale: Array, bias: Array
) -> Array:
    """x [... D] less its mean over some axes, over its deviation, by scale and bias.

    Derivatives of every order read the result's standard part and its deviation alone:
    with g = scale / deviation, dy = g dx + y' (dscale - g mean(y' dx)) + (dbias - g
    mean(dx)), whose transpose sums the cotangent and its product with y' once each.
    """
    return _spread(epsilon, over, x)[0] * scale + bias


def plain_normalised(epsilon, over, x: Array, scale: Array, bias: Array) -> Array:
    """The same with JAX's own derivatives."""
    mean, var = x.mean(over, keepdims=True), x.var(over, keepdims=True)
    return (x - mean) * (lax.rsqrt(var + epsilon) * scale) + bias


@normalised.defjvp
def _normalised_rule(epsilon, over, primals, tangents) -> tuple[Array, Array]:
    (x, scale, bias), (dx, dscale, dbias) = primals, tangents
    y, inverse = _spread(epsilon, over, x)
    g = inverse * scale
    along = dscale - g * (y * dx).mean(over, keepdims=True)
    level = dbias - g * dx.mean(over, keepdims=True)
    return y * scale + bias, g * dx + y * along + level


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _spread(epsilon, over, x: Array) -> tuple[Array, Array]:
    """(x less its mean, over its deviation; 1 / deviation)."""
    centred = x - x.mean(over, keepdims=True)
    inverse = lax.rsqrt(jnp.square(centred).mean(over, keepdims=True) + epsilon)
    return centred * inverse, inverse


@_spread.defjvp
def _spread_rule(epsilon, over, primals, tangents) -> tuple[tuple, tuple]:
    y, inverse = _spread(epsilon, over, *primals)
    (dx,) = tangents
    share = inverse * (y * dx).mean(over, keepdims=True)
    level = inverse * dx.mean(over, keepdims=True)
    return (y, inverse), (inverse * dx - y * share - level, -inverse * share)
