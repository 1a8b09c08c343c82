"""Subspace alignment: principal axes of the source turned to the target's."""

import math

import jax.numpy as jnp
import numpy as np

from tl_jax.estimators.subspace import moments
from tl_jax.estimators.subspace.maps import Affine, Alignment
from tl_jax.types import Array


def subspace_alignment(
    source: Array,
    target: Array,
    dimension: int,
    *,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
) -> Alignment:
    """Turn the source's principal axes to the target's (Fernando et al., 2013).

    source: x -> (x - m_s) P_s P_s^T P_t        target: x -> (x - m_t) P_t

    P [D d]: the domain's leading principal axes. `consistent_dimension` bounds d.
    ADAPT's SA and skada's SubspaceAlignment are the same, with all axes by default.

    source [N D], target [M D], weights [N] and [M] (0 leaves a row out). Raises
    ValueError for a dimension outside 1..min(N, M, D), shapes that do not fit and
    values that are not finite.
    """
    pair = moments.both(source, target, source_weight, target_weight)
    most = min(*(len(rows.features) for rows in pair), pair[0].features.shape[1])
    if not 1 <= dimension <= most:
        raise ValueError(f"dimension is {dimension}, expected 1..{most}")
    here, there = (moments.spectrum(rows).axes[:, :dimension] for rows in pair)
    none = jnp.zeros((), here.dtype)
    old, new = (moments.mean(rows) for rows in pair)
    turn = here @ (here.T @ there)
    return Alignment(Affine(old, turn, none), Affine(new, there, none))


def consistent_dimension(
    source: Array, target: Array, *, gamma: float = 1e5, delta: float = 0.1
) -> int:
    """The largest dimension whose alignment is stable (Fernando et al., 2013).

    The largest d with, in both domains, for eigenvalues l of the covariance

    l_d - l_d+1 >= (1 + sqrt(ln(2 / delta) / 2)) 16 d^1.5 B / (gamma sqrt(n))

    n is the rows of the smaller domain, B the longest row of either. Then, with
    probability 1 - delta, similarities differ from their expectation by at most
    `gamma`; 1e5 and 0.1 are theirs. They choose among 1..d by cross-validation on the
    source. The bound depends on the features' scale: they standardise each domain.

    At least 1. source [N D], target [M D]. Raises ValueError as `subspace_alignment`.
    """
    if not gamma > 0 or not 0 < delta < 1:
        raise ValueError(
            f"gamma is {gamma}, delta {delta}: expected gamma > 0, 0 < delta < 1"
        )
    pair = moments.both(source, target)
    fewest = min(len(rows.features) for rows in pair)
    longest = max(float(jnp.sqrt((x**2).sum(1)).max()) for x, _ in pair)
    gaps = [np.asarray(moments.spectrum(rows).variances) for rows in pair]
    count = min(map(len, gaps))
    gaps = [-np.diff(np.append(values, 0.0))[:count] for values in gaps]
    d = np.arange(1, count + 1)
    factor = (1 + math.sqrt(math.log(2 / delta) / 2)) / (gamma * math.sqrt(fewest))
    stable = np.minimum(*gaps) >= factor * 16 * d**1.5 * longest
    return int(d[stable].max(initial=1))
