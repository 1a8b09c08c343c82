"""Maximum mean discrepancy of the joint distribution of several layers."""

import math
from collections.abc import Sequence

import jax.numpy as jnp

from tl_jax.losses.discrepancy.estimates import (
    Layers,
    in_a_ring,
    quadratic,
    rows,
    weights,
)
from tl_jax.losses.discrepancy.kernels import (
    Gaussians,
    centred,
    checked,
    distances,
    mixture,
    width_of,
)
from tl_jax.types import Array

JAN = (
    Gaussians((0.125, 0.25, 0.5, 1.0, 2.0), "mean", summed=True),
    Gaussians((1.0,), 0.92**2),
)
"""The kernels of TLlib's JAN: of features, and of a softmax."""


def jmmd(
    sources: Layers,
    targets: Layers,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    *,
    kernels: Sequence[Gaussians] = JAN,
    unbiased: bool = True,
    linear: bool = False,
) -> Array:
    """Squared mean discrepancy of several layers at once (Long et al., 2017).

    `mmd` or, linear, `mk_mmd` of k(x, y) = prod_l k_l(x_l, y_l): each layer has a
    kernel, and its own width. TLlib's adds 2 / (N - 1), and is linear by default;
    pytorch-adapt's `MMDLoss` of lists has the widths of its `MMDLoss`.

    sources and targets: sequences of [N D_l] and [M D_l], weights [N], [M] -> [].
    Raises ValueError for sequences of different lengths, for layers of different
    rows, and as `mk_mmd`.
    """
    weights = source_weight, target_weight
    how = dict(unbiased=unbiased, linear=linear)
    return joint("jmmd", sources, targets, *weights, kernels, **how)


def joint(
    name: str,
    sources: Layers,
    targets: Layers,
    source_weight: Array | None,
    target_weight: Array | None,
    kernels: Sequence[Gaussians],
    *,
    unbiased: bool = True,
    linear: bool = False,
) -> Array:
    """What `jmmd` says; errors begin with `name`."""
    _check(name, sources, targets, kernels, unbiased or linear, linear)
    pairs = [rows(name, *pair) for pair in zip(sources, targets, strict=True)]
    source = weights(pairs[0][0], source_weight)
    target = weights(pairs[0][1], target_weight)
    weight = jnp.concatenate([source, target])
    pooled = [centred(jnp.concatenate(pair), weight) for pair in pairs]

    def product(squares: Layers, widths: Layers) -> Array:
        parts = zip(kernels, squares, widths, strict=True)
        return math.prod(mixture(*part) for part in parts)

    if not linear:
        squares = [distances(x) for x in pooled]
        known = zip(kernels, pooled, squares, strict=True)
        widths = [width_of(kernel, x, weight, found) for kernel, x, found in known]
        return quadratic(product(squares, widths), source, target, unbiased)
    widths = [width_of(k, x, weight) for k, x in zip(kernels, pooled, strict=True)]

    def of_rows(x: Layers, y: Layers) -> Array:
        apart = [jnp.square(a - b).sum(-1) for a, b in zip(x, y, strict=True)]
        return product(apart, widths)

    cut = [(x[: len(source)], x[len(source) :]) for x in pooled]
    return in_a_ring(of_rows, *zip(*cut, strict=True), source, target)


def _check(
    name: str,
    sources: Layers,
    targets: Layers,
    kernels: Sequence[Gaussians],
    two: bool,
    linear: bool,
) -> None:
    """Everything that shapes alone say."""
    if not len(sources) == len(targets) == len(kernels) > 0:
        raise ValueError(
            f"{name}: {len(sources)} layers of source, {len(targets)} of target, "
            f"{len(kernels)} kernels, expected one kernel a layer"
        )
    for kernel in kernels:
        checked(name, kernel)
    for side, layers in (("source", sources), ("target", targets)):
        counts = {len(layer) for layer in layers}
        if len(counts) > 1:
            raise ValueError(f"{name}: layers of {side} have {sorted(counts)} rows")
        if two and min(counts) < 2:
            raise ValueError(
                f"{name}: {side} has {min(counts)} rows, expected at least two"
            )
    if linear and len(sources[0]) != len(targets[0]):
        raise ValueError(
            f"{name}: source has {len(sources[0])} rows, target {len(targets[0])}; "
            "the linear form pairs them, use linear=False"
        )
