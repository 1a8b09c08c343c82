"""Distributionally robust optimisation over groups."""

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.algorithms.adaptation.views import positive
from tl_jax.algorithms.generalisation.risks import (
    check_domains,
    instead,
    rows_of,
    source,
)
from tl_jax.algorithms.supervised import Loss, Weigh, weight_of


def group_dro(
    loss: Loss, domains: int, rate: float = 0.01, *, weigh: Weigh = weight_of
) -> Term:
    """Weight domains by how badly they do (Sagawa et al., 2020, Algorithm 1).

    q_e <- q_e exp(rate R_e) / sum,  then  sum_e q_e R_e

    in place of the mean over all rows. R_e is the mean loss of a domain's rows, q [E]
    begins even and stands in memory; a domain without rows in a batch keeps its own
    before the sum is 1 again. As DomainBed's GroupDRO, whose rate is 0.01. Raises
    ValueError for a negative rate or less than two domains.
    """
    positive("group_dro", rate=rate)
    check_domains("group_dro", domains)

    def value(seen: Seen) -> Found:
        side = source(seen, "group_dro")
        rows = rows_of(side.stream, domains, weigh, "group_dro")
        each = rows.mean(loss(side.outputs, side.stream))
        q = jax.nn.softmax(jnp.log(seen.own["q"]) + rate * jax.lax.stop_gradient(each))
        total = instead(seen, (q * each).sum(), loss, weigh)
        worst = jnp.where(rows.there, each, -jnp.inf).max()
        return Found(total, {"q": q}, metrics={"worst": worst, "most": q.max()})

    return Term(value, lambda key, players: {"q": jnp.full(domains, 1 / domains)})
