"""Transfer component analysis, exact, with a map of new rows."""

from typing import Literal

import jax.numpy as jnp

from tl_jax.estimators.subspace import moments
from tl_jax.estimators.subspace.maps import Affine, Alignment, Radial, radial
from tl_jax.tree import one_of
from tl_jax.types import Array

Kernel = Literal["linear", "rbf"]


def tca(
    source: Array,
    target: Array,
    dimension: int,
    *,
    kernel: Kernel = "rbf",
    mu: float = 1.0,
    gamma: float | None = None,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
) -> Alignment:
    """Components that vary, but whose means agree (Pan et al., 2011).

    max_W tr(W^T K H K W)   with   W^T (K l l^T K + mu I) W orthogonal

    K [N+M N+M] is the kernel of all rows, l_i = 1/N in the source and -1/M in the
    target, so that |l^T K w|^2 is the squared distance of the component's means, and H
    centres: the leading eigenvectors of (K l l^T K + mu I)^-1 K H K, each scaled so
    that its component has variance 1 over all rows. Both domains are mapped by
    x -> k(x) W. The problem is made symmetric by the exact root of the rank-one term;
    a linear kernel is solved in its D features. A weight is a number of copies.
    `gamma` of rbf is by default the inverse of the mean squared distance of two rows.

    ADAPT and skada take (I + mu K l l^T K)^-1 K H K, their mu being 1 / mu here, and
    give that matrix, which is not symmetric, to a solver of symmetric ones (`eigh`):
    their components are not the eigenvectors. Their gamma is 1 / D.

    source [N D], target [M D], weights [N] and [M] (0 leaves a row out). Raises
    ValueError for a dimension outside 1..N+M (linear: D at most), mu or gamma not
    positive, an unknown kernel, shapes that do not fit and values that are not finite.
    """
    one_of("kernel", kernel, ("linear", "rbf"))
    if not mu > 0 or (gamma is not None and not gamma > 0):
        raise ValueError(f"mu is {mu}, gamma {gamma}: expected more than 0")
    pair = moments.both(source, target, source_weight, target_weight)
    x = jnp.concatenate([rows.features for rows in pair])
    weight = jnp.concatenate([rows.weight for rows in pair])
    most = len(x) if kernel == "rbf" else min(x.shape)
    if not 1 <= dimension <= most:
        raise ValueError(f"dimension is {dimension}, expected 1..{most}")
    root = jnp.sqrt(weight)
    shares = [rows.weight / rows.weight.sum() for rows in pair]
    lever = jnp.concatenate([shares[0], -shares[1]]) / jnp.where(root > 0, root, 1)
    if kernel == "linear":
        _, sizes, axes = jnp.linalg.svd(root[:, None] * x, full_matrices=False)
        scores = ((root[:, None] * x) @ axes.T) * sizes
        found = components(scores, root, lever, mu, dimension)
        none = jnp.zeros((), x.dtype)
        map_ = Affine(none, (axes.T * sizes) @ found, none)
        return Alignment(map_, map_)
    gamma = _spread(x, weight) if gamma is None else jnp.asarray(gamma, x.dtype)
    scores = root[:, None] * radial(x, x, gamma) * root
    found = components(scores, root, lever, mu, dimension)
    map_ = Radial(x, root[:, None] * found, gamma)
    return Alignment(map_, map_)


def components(
    scores: Array, root: Array, lever: Array, mu: float, dimension: int
) -> Array:
    """Leading solutions in a basis of coefficients whose penalty is their norm.

    scores [N R]: of each row, times its root weight, by each basis function; root [N],
    lever [N] -> [R dimension], each component of weighted variance 1, its largest value
    positive.
    """
    # B = mu I + u u^T has the root mu^-1/2 (I - c u u^T / |u|^2) of its inverse
    apart = scores.T @ lever
    size = apart @ apart
    shrink = (1 - jnp.sqrt(mu / (mu + size))) / jnp.where(size > 0, size, 1)

    def whiten(columns: Array) -> Array:
        return columns - shrink * jnp.outer(apart, apart @ columns)

    spread = scores - jnp.outer(root, root @ scores) / (root @ root)
    spread = whiten(spread.T).T
    values, vectors = jnp.linalg.eigh(spread.T @ spread)
    values, vectors = values[::-1][:dimension], vectors[:, ::-1][:, :dimension]
    found = whiten(vectors)
    reached = scores @ found / jnp.where(root > 0, root, 1)[:, None]
    largest = jnp.take_along_axis(reached, jnp.abs(reached).argmax(0)[None], axis=0)
    found = found * jnp.where(largest < 0, -1, 1)
    there = values > len(root) * jnp.finfo(values.dtype).eps * values[0]
    unit = jnp.sqrt(root @ root / jnp.where(there, values, 1.0))
    return found * jnp.where(there, unit, 0.0)


def _spread(x: Array, weight: Array) -> Array:
    """1 / the mean squared distance of two rows, x [N D], weight [N] -> []."""
    variance = (moments.centred(moments.Rows(x, weight), unbiased=False) ** 2).sum()
    return 1 / jnp.maximum(2 * variance, jnp.finfo(x.dtype).tiny)
