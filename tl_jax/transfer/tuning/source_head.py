"""The head of the pretrained model, kept beside a new one."""

import jax.numpy as jnp

from tl_jax.tree import NoMatch, get, no_match, put, sites
from tl_jax.types import Key, Plan, Transfer

SOURCE = "source"
"""Where a plan keeps the old head: kernel [D S], bias [S], relation [C S]."""


def keep_head(classes: int, *, where: str = "head", to: str = SOURCE) -> Transfer:
    """Copy the head to another site, to be trained beside a new one.

    For Co-Tuning (You et al., 2020): the site also has a frozen `relation` [C S],
    p(source class | target class), uniform until it is fitted. No model reads the
    site; the penalty does. Apply it before `new_head`.

    Raises `NoMatch` for a model without a head, ValueError for one that is no single
    linear layer over features.
    """
    if classes < 1:
        raise ValueError(f"keep_head: classes is {classes}, expected at least 1")

    def transfer(key: Key, plan: Plan) -> Plan:
        if where not in sites(plan.params):
            missing = no_match("keep_head: where", where, sites(plan.params))
            raise NoMatch(f"{missing}; load weights that have one with head='keep'")
        head, rates = get(plan.params, where), get(plan.rates, where)
        if head.keys() != {"kernel", "bias"} or jnp.ndim(head["kernel"]) != 2:
            raise ValueError(
                f"keep_head: {where!r} holds {', '.join(sorted(head))}; expected "
                "kernel [D S] and bias [S] of one linear layer"
            )
        count = head["bias"].shape[0]
        relation = jnp.full((classes, count), 1 / count, jnp.float32)
        return plan._replace(
            params=put(plan.params, to, {**head, "relation": relation}),
            rates=put(plan.rates, to, {**rates, "relation": 0.0}),
        )

    return transfer
