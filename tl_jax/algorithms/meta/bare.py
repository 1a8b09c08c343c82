"""Players of plain parameters: what is learned beside a model."""

from typing import Any, NoReturn

from tl_jax.transfer.plan import full
from tl_jax.types import Key, Model, Params, Player


def bare(params: Params, tx: Any) -> Player:
    """A player whose parameters belong to no model: rates, matrices, temperatures.

    A learner reads them as params_of[name]; they descend by `tx` with all the others.
    """

    def init(key: Key) -> tuple[Params, dict]:
        return params, {}

    def apply(*args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this player has parameters alone, and no model to apply")

    return Player(Model(init, apply, 0), full(params), tx)
