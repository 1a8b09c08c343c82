"""Risk extrapolation."""

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.algorithms.adaptation.views import positive
from tl_jax.algorithms.generalisation.risks import (
    check_begin,
    check_domains,
    instead,
    rows_of,
    source,
)
from tl_jax.algorithms.supervised import Loss, Weigh, weight_of


def vrex(
    loss: Loss,
    domains: int,
    strength: float = 10.0,
    *,
    begin: float = 0.1,
    weigh: Weigh = weight_of,
) -> Term:
    """Equal risks in all domains (Krueger et al., 2021, V-REx).

    mean_e R_e + beta mean_e (R_e - mean R)^2

    R_e is the mean loss of a domain's rows; their mean takes the place of that over all
    rows. beta is 1 up to the share `begin` of the run, then `strength`: DomainBed's are
    10 and 0.1, and it starts Adam anew there. Raises ValueError for a negative
    strength, a share outside 0..1 or less than two domains.
    """
    positive("vrex", strength=strength)
    check_domains("vrex", domains)
    check_begin("vrex", begin)

    def value(seen: Seen) -> Found:
        side = source(seen, "vrex")
        rows = rows_of(side.stream, domains, weigh, "vrex")
        each = rows.mean(loss(side.outputs, side.stream))
        mean = rows.over(each)
        spread = rows.over(jnp.square(each - mean))
        now = jnp.where(seen.progress < begin, 1.0, strength)
        total = instead(seen, mean, loss, weigh) + now * spread
        return Found(total, metrics={"variance": spread})

    return Term(value)
