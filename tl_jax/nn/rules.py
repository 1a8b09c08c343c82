"""Who says how a layer is differentiated: rules written by hand, or JAX."""

from typing import Literal, get_args

from tl_jax.tree import one_of

Rules = Literal["hand", "auto"]
"""An argument of every layer that has a rule, and of every model, of one meaning:

"hand": rules written by hand. They keep less for the backward pass, lay out what CPUs
read slowly, and round cotangents of half precision before the backward products, which
is where they win. Values are those of "auto" but for rounding. Reverse mode of any
order and forward over reverse; in float32 without convolutions `jax.jvp` as well.

"auto": JAX's own derivatives, in every mode and of any order. Patches are not told:
LoRA's products in half precision keep their rule, which knows no `jax.jvp`.
"""


def by_hand(rules: Rules) -> bool:
    """True for "hand", False for "auto"; raises `NoMatch` for another."""
    check_rules(rules)
    return rules == "hand"


def check_rules(rules: Rules) -> None:
    """Raise `NoMatch` for unknown rules."""
    one_of("rules", rules, get_args(Rules))
