"""Rows of one domain mixed with rows of another."""

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Before, Term
from tl_jax.algorithms.adaptation.streams import IMPORTANCE, SOURCE
from tl_jax.algorithms.generalisation.risks import DOMAIN, check_domains, rows_of
from tl_jax.algorithms.supervised import weight_of
from tl_jax.types import Array, Batch, Key, Stream

STAY = (DOMAIN, IMPORTANCE)
"""Columns that say what a row is, and are not mixed."""


def mixup_domains(domains: int, classes: int | None, alpha: float = 0.2) -> Term:
    """Train on mixtures of two domains' rows (Zhang et al., 2018; Xu et al., 2020).

    l x_i + (1 - l) x_j with the labels mixed likewise, i of one domain and j of the
    next in a random circle, one l ~ Beta(alpha, alpha) a pair of domains. Labels int
    [B] become shares of `classes` [B C]; None is for numbers. It changes the source's
    stream before the forward pass and adds nothing. As DomainBed's Mixup, whose two
    cross entropies are that of the mixed label. Inputs must be floats or pictures.

    Raises ValueError for an alpha that is not positive, less than two domains, or
    inputs that cannot be mixed.
    """
    check_domains("mixup_domains", domains)
    if not alpha > 0:
        raise ValueError(f"mixup_domains: alpha is {alpha}, expected more than 0")

    def prepare(before: Before, batch: Batch) -> Batch:
        stream = batch[SOURCE]
        circle, draws = jax.random.split(before.key)
        rows = rows_of(stream, domains, weight_of, "mixup_domains")
        following = next_domains(circle, rows.there)
        share = jax.random.beta(draws, alpha, alpha, (domains,))
        own = jnp.clip(stream["inputs"][DOMAIN], 0, domains - 1)
        partner = partners_across(rows.weight, own, following)
        return {**batch, SOURCE: mixed(stream, partner, share[own], classes)}

    return Term(lambda seen: jnp.float32(0), prepare=prepare)


def next_domains(key: Key, there: Array) -> Array:
    """[E] whom each domain is mixed with: a random circle of those that are there."""
    draws = jnp.where(there, jax.random.uniform(key, there.shape), 2.0)
    order = jnp.argsort(draws)
    place = jnp.argsort(order)
    following = order[(place + 1) % jnp.maximum(there.sum(), 1)]
    return jnp.where(there, following, jnp.arange(len(there)))


def partners_across(weight: Array, domain: Array, following: Array) -> Array:
    """[B] for the k-th row of a domain the k-th of the next one, around where it ends.

    weight [E B] of `Rows`, domain [B], following [E]; rows of no domain are their own.
    """
    real = weight > 0
    place = jnp.argsort(~real, axis=1, stable=True)
    count = real.sum(1)
    rank = jnp.take_along_axis(jnp.cumsum(real, axis=1), domain[None], 0)[0] - 1
    other = following[domain]
    found = place[other, rank % jnp.maximum(count[other], 1)]
    known = real.any(0) & (count[other] > 0)
    return jnp.where(known, found, jnp.arange(len(domain)))


def mixed(stream: Stream, partner: Array, share: Array, classes: int | None) -> Stream:
    """share x + (1 - share) x[partner], of inputs and labels. partner, share [B]."""

    def mix(x: Array) -> Array:
        own = share.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype)
        return own * x + (1 - own) * x[partner]

    inputs = {
        name: x if name in STAY else mix(_floats(name, x))
        for name, x in stream["inputs"].items()
    }
    labels = jnp.asarray(stream["labels"])
    if classes is not None and labels.ndim == 1:
        labels = jax.nn.one_hot(labels, classes)
    return {**stream, "inputs": inputs, "labels": mix(labels.astype(jnp.float32))}


def _floats(name: str, x: Array) -> Array:
    """Floats, and levels of a picture as floats; raises ValueError for others."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    if x.dtype == jnp.uint8:
        return x.astype(jnp.float32)
    raise ValueError(
        f"mixup_domains: input {name!r} is {x.dtype} {list(x.shape)}, which cannot be "
        "mixed; expected floats, or pictures of uint8"
    )
