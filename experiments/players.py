"""Who plays beside the model: parameters of a method that belong to no layer of it."""

from collections.abc import Mapping
from typing import Any

from experiments.algorithms import PLAYER, Cast
from tl_jax.algorithms.meta import bare
from tl_jax.models import full_context, mlp, readout
from tl_jax.transfer import full
from tl_jax.tree import stable_key
from tl_jax.types import Key, Model, Player


def adjusted(table: Mapping[str, Any], **start: float) -> Cast:
    """Learned numbers, the player `adjust`; those that the table sets are not learned.

    They descend by the model's optimiser.
    """
    free = {name: value for name, value in start.items() if name not in table}

    def cast(key: Key, player: Player) -> dict[str, Player]:
        import jax.numpy as jnp

        if not free:
            return {PLAYER: player}
        leaves = {name: jnp.asarray(value, float) for name, value in free.items()}
        return {PLAYER: player, "adjust": bare(leaves, player.tx)}

    return cast


def context(table: dict[str, Any]) -> Cast:
    """The full context embeddings of matching networks, the player `context`."""
    steps = table.pop("processing_steps", 5)

    def cast(key: Key, player: Player) -> dict[str, Player]:
        made = full_context(player.model.width, processing_steps=steps)
        return {PLAYER: player, "context": fresh(key, "context", made, player.tx)}

    return cast


def related(table: dict[str, Any]) -> Cast:
    """A relation module over two vectors of features, the player `relation`."""
    hidden = table.pop("hidden", 64)

    def cast(key: Key, player: Player) -> dict[str, Player]:
        made = mlp(2 * player.model.width, (hidden,), classes=1)
        return {PLAYER: player, "relation": fresh(key, "relation", made, player.tx)}

    return cast


def read_out(table: dict[str, Any]) -> Cast:
    """A last layer that tasks train, `linear` or `cosine`, the player `readout`.

    The table says how many `ways` it has; raises ValueError where it does not.
    """
    if "ways" not in table:
        raise ValueError("the learner's table needs `ways`, its last layer's width")
    ways = table["ways"]
    how = {name: table.pop(name) for name in ("kind", "scale") if name in table}

    def cast(key: Key, player: Player) -> dict[str, Player]:
        made = readout(player.model.width, ways, **how)
        return {PLAYER: player, "readout": fresh(key, "readout", made, player.tx)}

    return cast


def fresh(key: Key, name: str, model: Model, tx: Any) -> Player:
    """A player of random weights."""
    return Player(model, full(*model.init(stable_key(key, name))), tx)
