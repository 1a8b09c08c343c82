"""Tuning of the norms alone."""

import re

from tl_jax.transfer.plan import rate
from tl_jax.tree import no_match, sites
from tl_jax.types import Key, Plan, Transfer

LEAVES = ({"scale", "bias"}, {"scale"})
"""What the site of a norm holds; an RMS norm has no bias."""


def layer_norms(value: float = 1.0) -> Transfer:
    """Set the rate of scale and bias of every norm without statistics.

    y = g (x - mean) / deviation + b, of which g and b move (Zhao et al., 2023). Layer
    and RMS norms, those behind the embedding and before the head too, as PEFT's
    `LNTuningConfig` takes them. Other leaves keep their rates: freeze them first.
    Raises `NoMatch` where there is none.
    """
    return _norms("layer_norms", value, counted=False)


def batch_norms(value: float = 1.0) -> Transfer:
    """Set the rate of scale and bias of every batch norm (Frankle et al., 2021).

    After freeze(".*") these alone move, and with them the norms' statistics, which
    follow the parameters of their site. Raises `NoMatch` where there is none.
    """
    return _norms("batch_norms", value, counted=True)


def _norms(name: str, value: float, *, counted: bool) -> Transfer:
    """Rates of the norms that have statistics, or of those that have none."""
    if not value >= 0:
        raise ValueError(f"{name}: rate is {value}, expected 0 or more")

    def transfer(key: Key, plan: Plan) -> Plan:
        norms = [
            path
            for path, site in sites(plan.params).items()
            if site.keys() - {"patch"} in LEAVES
        ]
        chosen = [path for path in norms if (path in plan.stats) == counted]
        if not chosen:
            raise no_match("transform", name, norms)
        rule = "|".join(rf"{re.escape(path)}/(?:scale|bias)" for path in chosen)
        return rate(rule, value)(key, plan)

    return transfer
