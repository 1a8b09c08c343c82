"""Invariant risk minimisation."""

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Found, Seen, Side, Term
from tl_jax.algorithms.adaptation.views import logits_of, positive
from tl_jax.algorithms.generalisation.risks import (
    Rows,
    check_begin,
    check_domains,
    instead,
    rows_of,
    source,
)
from tl_jax.algorithms.supervised import Loss, Weigh, weight_of
from tl_jax.types import Array


def irm(
    loss: Loss,
    domains: int,
    strength: float = 100.0,
    *,
    begin: float = 0.1,
    halves: bool = True,
    weigh: Weigh = weight_of,
) -> Term:
    """A head that is at its best in every domain (Arjovsky et al., 2019, IRMv1).

    mean_e R_e + lambda mean_e (d/ds R_e(s logits) at s = 1)^2

    R_e is the mean loss of a domain's rows, which takes the place of the mean over all
    rows. lambda is 1 up to the share `begin` of the run, then `strength`; DomainBed's
    are 100 and 0.1. `halves` takes the product of the slopes of a domain's even and odd
    rows for the square, unbiased, as DomainBed does; the paper's is the square.
    DomainBed starts Adam anew where lambda changes, here it goes on. Raises ValueError
    for a negative strength, a share outside 0..1 or less than two domains.
    """
    positive("irm", strength=strength)
    check_domains("irm", domains)
    check_begin("irm", begin)

    def value(seen: Seen) -> Found:
        side = source(seen, "irm")
        rows = rows_of(side.stream, domains, weigh, "irm")
        each = rows.mean(loss(side.outputs, side.stream))
        penalty = rows.over(slope_products(side, loss, rows, halves))
        now = jnp.where(seen.progress < begin, 1.0, strength)
        risk = instead(seen, rows.over(each), loss, weigh)
        return Found(risk + now * penalty, metrics={"penalty": penalty})

    return Term(value)


def slope_products(side: Side, loss: Loss, rows: Rows, halves: bool) -> Array:
    """[E] squares of the slopes of domains' risks, or products of their halves'."""
    logits = logits_of(side.outputs, "irm")
    parts = split(rows) if halves else (rows, rows)

    def risks(scale: Array) -> tuple[Array, Array]:
        values = loss(side.outputs._replace(logits=scale * logits), side.stream)
        return tuple(part.mean(values) for part in parts)

    _, (one, two) = jax.jvp(risks, (jnp.float32(1),), (jnp.float32(1),))
    return one * two


def split(rows: Rows) -> tuple[Rows, Rows]:
    """The first, third and further rows of each domain, and the others."""
    real = rows.weight > 0
    even = jnp.cumsum(real, axis=1) % 2 == 1
    return Rows(jnp.where(even, rows.weight, 0)), Rows(jnp.where(even, 0, rows.weight))
