"""Low-rank adaptation that begins with what the data show to each layer."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank.factors import (
    check_fit,
    check_rank,
    scale_of,
    shape_of,
    under,
)
from tl_jax.transfer.low_rank.lora import LoRA
from tl_jax.tree import get, matches, node, put, sites
from tl_jax.types import Array, Key, Model, Params, Plan, Stats, Transfer

Moments = dict[str, Array]
"""Path of a site -> [I+1 I+1], the sum over rows of [x 1]^T [x 1]."""
PROBE = "moments"


@node
class Probe:
    """Leaves the product alone; the gradient of `sums` is the moments of its input."""

    point: ClassVar[str] = "product"
    rates: ClassVar[Mapping[str, float]] = {}
    sums: Array
    shown: Array

    def __call__(self, site: Params, value: Array, *, x: Any, key: Any = None) -> Array:
        """The value."""
        rows = x.shape[:-1]
        shown = self.shown if self.shown.shape == rows else jnp.ones(rows)
        return _probed(value, self.sums, x, shown)


@jax.custom_vjp
def _probed(value: Array, sums: Array, x: Array, shown: Array) -> Array:
    return value


def _forward(value, sums, x, shown) -> tuple[Array, tuple]:
    return value, (x, shown)


def _backward(saved: tuple, cotangent: Array) -> tuple:
    x, shown = saved
    rows = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
    rows = jnp.concatenate([rows, jnp.ones((len(rows), 1))], 1)
    sums = jnp.einsum("n,ni,nj->ij", shown.ravel(), rows, rows, precision="highest")
    return cotangent, sums, jnp.zeros_like(x), jnp.zeros_like(shown)


_probed.defvjp(_forward, _backward)


def input_moments(
    model: Model, params: Params, stats: Stats, inputs: Mapping[str, Any], where: str
) -> Moments:
    """Second moments of what matching dense layers read, padding left out.

    One batch; add those of several, in any order. Rows where `inputs["mask"]` [B T] is
    0 count nothing in layers that read tokens. To be compiled by the caller: XLA drops
    the derivatives that carry the sums out. Raises `NoMatch` for a rule without a site.
    """
    known = [path for path, site in sites(params).items() if "kernel" in site]
    found = matches(where, known, "input_moments: where")
    for path in found:
        check_fit("input_moments", 1, shape_of(get(params, path)), (2,))
    mask = jnp.asarray(inputs.get("mask", 1.0), jnp.float32)

    def total(sums: Moments) -> Array:
        probed = params
        for path, own in sums.items():
            probed = put(probed, under(path, f"patch/{PROBE}"), Probe(own, mask))
        outputs, _ = model.apply(probed, stats, inputs)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(outputs))

    sizes = {path: shape_of(get(params, path))[0] + 1 for path in found}
    return jax.grad(total)({path: jnp.zeros((n, n)) for path, n in sizes.items()})


def eva(
    model: Model,
    batches: Iterable[Mapping[str, Any]] | Moments,
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    spare: float = 2.0,
    rate: float = 0.0,
    name: str = "lora",
) -> Transfer:
    """LoRA whose a are the principal directions of its inputs (Paischer et al., 2024).

    a = the eigenvectors of the inputs' covariance, b zero, so that the function is
    unchanged. `rank` is the average: of `spare * rank` candidates a site those are
    taken, `rank` times the sites in all, that explain the largest share of their
    site's variance; a site may get none. The scale is alpha / rank everywhere, PEFT's
    `adjust_scaling_factors`.

    `batches`: inputs of the model, which are run through it one by one as the plan is
    built, or the sum of `input_moments` over them. These are the exact moments, I^2
    numbers a site, where PEFT keeps an incremental and approximate decomposition,
    stopped when its directions settle; both subtract the mean.

    Raises ValueError without batches, for a `spare` below 1, for a rank that does not
    fit and for a site that read nothing.
    """
    check_rank(name, rank)
    if not spare >= 1:
        raise ValueError(f"eva: spare is {spare}, expected 1 or more")

    def transfer(key: Key, plan: Plan) -> Plan:
        given = isinstance(batches, dict)
        sums = batches if given else _summed(model, plan, batches, where)
        for path in sums:
            check_fit(name, rank, shape_of(get(plan.params, path)), (2,))
        directions = {path: _directions(path, own) for path, own in sums.items()}
        ranks = shared({p: share for p, (share, _) in directions.items()}, rank, spare)
        for path, count in ranks.items():
            if count:
                a = jnp.asarray(directions[path][1][:, :count], jnp.float32)
                plan = _with(a, path)(key, plan)
        return plan

    def _with(a: Array, path: str) -> Transfer:
        def make(key: Key, site: Params) -> LoRA:
            b = jnp.zeros((a.shape[1], shape_of(site)[1]))
            return LoRA(a, b, scale_of(alpha, rank, False), rate)

        return graft(re.escape(path), name, make, has=("kernel",))

    return transfer


def shared(shares: Mapping[str, Array], rank: int, spare: float) -> dict[str, int]:
    """Ranks by site, `rank` on average: the largest shares of variance among all.

    Of equal shares those of the earlier sites in path order come first.
    """
    most = round(rank * spare)
    every = [(-s, path) for path in sorted(shares) for s in shares[path][:most]]
    chosen = [path for _, path in sorted(every)[: rank * len(shares)]]
    return {path: chosen.count(path) for path in sorted(shares)}


def _summed(model: Model, plan: Plan, batches: Iterable, where: str) -> Moments:
    """The moments of all batches."""
    total = None
    for inputs in batches:
        own = input_moments(model, plan.params, plan.stats, inputs, where)
        total = own if total is None else jax.tree.map(jnp.add, total, own)
    if total is None:
        raise ValueError("eva: there is no batch to look at")
    return total


def _directions(path: str, sums: Array) -> tuple[np.ndarray, np.ndarray]:
    """Shares of variance in falling order, and their directions [I I] by column."""
    sums = np.asarray(sums, np.float64)
    count = sums[-1, -1]
    if count == 0:
        raise ValueError(f"eva: {path!r} read nothing of these batches")
    mean = sums[:-1, -1] / count
    values, vectors = np.linalg.eigh(sums[:-1, :-1] / count - np.outer(mean, mean))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    return values / max(values.sum(), 1e-30), vectors
