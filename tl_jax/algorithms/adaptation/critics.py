"""Players beside the model that read its features: critics, second heads."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Seen
from tl_jax.tree import no_match
from tl_jax.types import Array, Player, Stats


def on_both(
    seen: Seen, player: str, source: Array, target: Array
) -> tuple[Array, Array, Stats]:
    """A player's logits of the rows of both domains, passed in one batch.

    source [B D], target [M D] -> ([B C], [M C], moved statistics).
    """
    rows = jnp.concatenate([source, target])
    outputs, moved = seen.run(player, {"features": rows}, key=seen.key)
    return outputs.logits[: len(source)], outputs.logits[len(source) :], moved


def check_reader(
    players: Mapping[str, Player],
    name: str,
    width: Callable[[int], int] = int,
    logits: Sequence[int] = (),
    main: str = "model",
) -> None:
    """Raise unless player `name` reads features and gives one of `logits` numbers.

    `width` says how many features [B width] come of the main player's; no `logits`:
    any number will do. Nothing is computed. Raises `NoMatch` for a player that is not
    there, else ValueError.
    """
    for one in (name, main):
        if one not in players:
            raise no_match("player", one, players)
    player, size = players[name], width(players[main].model.width)
    rows = jax.ShapeDtypeStruct((2, size), jnp.float32)
    wanted = f"player {name!r}: expected a model of inputs 'features' [B {size}]"
    try:
        outputs, _ = jax.eval_shape(
            lambda params, x: player.model.apply(
                params, player.plan.stats, {"features": x}
            ),
            player.plan.params,
            rows,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{wanted}, which this is not: {error}") from error
    found = None if outputs.logits is None else list(outputs.logits.shape)
    if found is None or len(found) != 2 or (logits and found[1] not in logits):
        number = " or ".join(map(str, logits)) or "C"
        shown = "none" if found is None else str(["B", *found[1:]])
        raise ValueError(f"{wanted} with logits [B {number}], found {shown}")
