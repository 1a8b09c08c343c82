"""Maximum mean discrepancy: how far apart the mean embeddings of two sets are."""

from tl_jax.losses.discrepancy.joint_mmd import joint
from tl_jax.losses.discrepancy.kernels import Gaussians
from tl_jax.types import Array

MIXTURE = Gaussians((0.25, 0.5, 1.0, 2.0, 4.0))
"""Two octaves on both sides of the median."""
DAN = Gaussians((0.125, 0.25, 0.5, 1.0, 2.0), "mean", summed=True)
"""The kernels of TLlib's DAN."""


def mmd(
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    *,
    kernel: Gaussians = MIXTURE,
    unbiased: bool = True,
) -> Array:
    """Squared maximum mean discrepancy (Gretton et al., 2012).

    mean_{i /= j} k(s_i, s_j) + mean_{i /= j} k(t_i, t_j) - 2 mean k(s_i, t_j)

    Biased, rows are paired with themselves as well: never below 0, and 0 for equal
    sets. Weights (0 for padding) weigh pairs by their product. Where a side has one
    row of weight, or none, it is 0.

    pytorch-adapt's quadratic `MMDLoss` is the unbiased one of exp(-c |x - y|^2 / m),
    averaged over c, where m is the median over source rows alone, each with itself
    too; skada's `dan_loss` is biased, with exp(-|x - y| / s) of distances that are
    not squared.

    source [N D], target [M D], weights [N], [M] -> []. Raises ValueError for widths
    that differ, a kernel that is none, or, unbiased, fewer than two rows.
    """
    weights = source_weight, target_weight
    return joint("mmd", [source], [target], *weights, [kernel], unbiased=unbiased)


def mk_mmd(
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    *,
    kernel: Gaussians = DAN,
    linear: bool = False,
) -> Array:
    """The multi-kernel discrepancy of deep adaptation networks (Long et al., 2015).

    The unbiased `mmd` of a sum of Gaussians, or in linear time

    mean_i k(s_i, s_i+1) + k(t_i, t_i+1) - k(s_i, t_i+1) - k(s_i+1, t_i)

    with the first row behind the last one. TLlib's adds 2 / (N - 1), which keeps its
    quadratic form of one kernel positive and has no gradient. pytorch-adapt's linear
    form takes disjoint pairs, the even rows each with the next one. The paper also
    learns weights of the kernels, which neither does.

    source [N D], target [M D] (linear: [N D]), weights [N], [M] -> []. Raises as `mmd`
    does, and ValueError where linear sides have different numbers of rows.
    """
    weights = source_weight, target_weight
    return joint("mk_mmd", [source], [target], *weights, [kernel], linear=linear)
