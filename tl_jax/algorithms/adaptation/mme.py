"""Minimax entropy: prototypes go to unlabelled rows, whose features go to them."""

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.algorithms.adaptation.views import logits_of, playing, positive, target
from tl_jax.losses.adversarial import entropy, reverse
from tl_jax.tree import compile_rule, map_with_path, matches, paths
from tl_jax.types import Array, Params

HEAD = r"head/.*"
"""The leaves of the classifier."""


def mme(
    strength: float = 0.1,
    *,
    reversal: float = 1.0,
    head: str = HEAD,
    player: str = "model",
) -> Term:
    """The head raises the target's entropy, all else lowers it (Saito et al., 2019).

    body <- body - r d/dbody s H,   head <- head + r s reversal d/dhead H

    for H the mean entropy of the target, s the strength (the authors' lambda). Labelled
    rows of the target, where they are opened, join the supervised loss. The authors
    reverse the features' gradient, and descend on -H; here it is the gradient of the
    leaves that match `head` that is reversed, in one more pass of the target, which is
    the same and fits any model. They take two steps of the optimiser, the supervised
    one first; this takes one of the sum. Use it with `transfer.cosine_head`. Raises
    ValueError for a negative number, `NoMatch` for a missing player or head.
    """
    positive("mme", strength=strength, reversal=reversal)
    pattern = compile_rule(head)

    def turned(path: str, leaf: Array) -> Array:
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return reverse(leaf, reversal) if pattern.fullmatch(path) and floating else leaf

    def value(seen: Seen) -> Found:
        side = target(seen, "mme")
        params: Params = map_with_path(turned, seen.params[player])
        outputs, _ = seen.run(
            player, side.stream["inputs"], key=seen.key, norm="batch", params=params
        )
        mean = side.mean(entropy(logits_of(outputs, "mme")))
        return Found(strength * mean, metrics={"entropy": mean})

    def check(players) -> None:
        playing(player)(players)
        matches(head, paths(players[player].plan.params), "mme: head")

    return Term(value, check=check)
