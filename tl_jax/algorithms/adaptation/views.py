"""Weak and strong views of unlabelled rows: `(key, stream) -> stream`.

For pictures `data.augment` has crops, RandAugment and more; here is noise for features
and texts, and how a term passes a view through the model.
"""

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Seen, Side
from tl_jax.nn import dropout
from tl_jax.tree import no_match, stable_key
from tl_jax.types import Array, Augment, Key, Outputs, Params, Stream


def noisy(std: float, field: str = "features") -> Augment:
    """Add normal noise to `inputs[field]`. Raises ValueError for a negative `std`."""
    if not std >= 0:
        raise ValueError(f"noisy: std is {std}, expected 0 or more")

    def change(key: Key, x: Array) -> Array:
        return x + std * jax.random.normal(key, x.shape, x.dtype)

    return _changed(field, change)


def dropped(rate: float, field: str = "features") -> Augment:
    """Zero a share of `inputs[field]` and scale up the rest, as dropout does.

    Raises ValueError for a rate outside 0..1.
    """
    share("dropped", rate=rate)
    return _changed(field, lambda key, x: dropout(x, rate, key))


def hidden_tokens(rate: float) -> Augment:
    """Take a share of the tokens out of `inputs["mask"]`, never the first one.

    No model looks at them, and the others stay where they are. Raises ValueError for a
    rate outside 0..1.
    """
    share("hidden_tokens", rate=rate)

    def change(key: Key, mask: Array) -> Array:
        kept = jax.random.bernoulli(key, 1 - rate, mask.shape).at[:, 0].set(True)
        return jnp.where(kept, mask, jnp.zeros_like(mask))

    return _changed("mask", change)


def view(
    seen: Seen, change: Augment, name: str, player: str, params: Params | None = None
) -> Outputs:
    """The player's outputs for a changed target, with dropout and batch statistics.

    The statistics that it would move are dropped: evaluation never meets such inputs.
    `params` in place of the player's own.
    """
    one, two = jax.random.split(stable_key(seen.key, name))
    inputs = change(one, target(seen, name).stream)["inputs"]
    return seen.run(player, inputs, key=two, norm="batch", params=params)[0]


def target(seen: Seen, term: str) -> Side:
    """The target's side; raises ValueError where a batch has none."""
    if seen.target is None:
        raise ValueError(f"{term}: the batch has no stream 'target'")
    return seen.target


def logits_of(outputs: Outputs, term: str) -> Array:
    """[B C]; raises ValueError for a model without a head."""
    if outputs.logits is None:
        raise ValueError(f"{term}: the model gives no logits; give its plan a head")
    if outputs.logits.ndim != 2:
        found = list(outputs.logits.shape)
        raise ValueError(f"{term}: logits are {found}, expected [B C], one row each")
    return outputs.logits


def playing(name: str):
    """The check that this player plays: `NoMatch` with the nearest names if not."""

    def check(players) -> None:
        if name not in players:
            raise no_match("player", name, players)

    return check


def positive(term: str, **numbers: float) -> None:
    """Raise ValueError for a number that is negative or not finite."""
    for field, value in numbers.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{term}: {field} is {value}, expected 0 or more")


def share(term: str, **numbers: float) -> None:
    """Raise ValueError for a number outside 0..1."""
    for field, value in numbers.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{term}: {field} is {value}, expected 0..1")


def _changed(field: str, change) -> Augment:
    def apply(key: Key, stream: Stream) -> Stream:
        inputs = stream["inputs"]
        if field not in inputs:
            raise no_match("input", field, inputs)
        return {**stream, "inputs": {**inputs, field: change(key, inputs[field])}}

    return apply
