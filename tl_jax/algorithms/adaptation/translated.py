"""Train on the source as a generator translates it into the target's look."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.cyclegan import TO_TARGET
from tl_jax.algorithms.adaptation.seen import Before, Seen, Term
from tl_jax.algorithms.adaptation.streams import SOURCE
from tl_jax.tree import flatten, no_match
from tl_jax.types import Array, Batch, Player


def translated(player: str = TO_TARGET) -> Term:
    """The source's pictures pass a frozen generator before the model sees them.

    The second stage of CyCADA (Hoffman et al., 2018): the task's network learns from
    G(s) with the labels of s. The player is `cyclegan`'s generator under a plan that
    freezes it; the term itself adds 0 to the loss.

    Raises `NoMatch` for a missing player, ValueError for one that moves.
    """

    def check(players: Mapping[str, Player]) -> None:
        if player not in players:
            raise no_match("player", player, players)
        rates = flatten(players[player].plan.rates)
        moving = [path for path, rate in rates.items() if rate]
        if moving:
            raise ValueError(
                f"player {player!r} translates and has to stay as it is, but "
                f"{len(moving)} leaves move, the first {moving[0]!r}; freeze('.*') it"
            )

    def prepare(before: Before, batch: Batch) -> Batch:
        source = batch[SOURCE]
        image = {"image": source["inputs"]["image"]}
        outputs, _ = before.run(player, image, norm="running")
        made = jax.lax.stop_gradient(outputs.hidden[-1])
        inputs = {**source["inputs"], "image": made}
        return {**batch, SOURCE: {**source, "inputs": inputs}}

    return Term(_zero, check=check, prepare=prepare)


def _zero(seen: Seen) -> Array:
    return jnp.float32(0)
