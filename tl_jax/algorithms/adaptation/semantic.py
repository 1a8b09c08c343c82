"""Translations that keep what a picture shows, by the word of a classifier."""

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.cyclegan import Consistency, Translated
from tl_jax.losses.supervised import cross_entropy
from tl_jax.types import Array, Stream


def semantic(
    strength: float = 1.0, *, player: str = "model", labels: bool = False
) -> Consistency:
    """CE(f(G(s)), f(s)) + CE(f(F(t)), f(t)) of a classifier f (Hoffman et al., 2018).

    For `cyclegan`'s `consistencies`: f is the player's model, trained on the source
    beforehand and still here; its most likely class before the translation is the
    class that it should see after it. With `labels` the source's own labels stand in
    for f(s), as in TLlib's example of CyCADA (whose `SemanticConsistency` is the cross
    entropy alone). Gradients reach the generators.
    """

    def consistency(seen: Translated) -> Array:
        def agreement(stream: Stream, made: Array, known: Array | None) -> Array:
            if known is None:
                image = {"image": stream["inputs"]["image"]}
                known = jnp.argmax(seen.run(player, image).logits, -1)
            after = seen.run(player, {"image": made}).logits
            weight = stream["weight"]
            total = (weight * cross_entropy(after, known)).sum()
            return total / jnp.maximum(weight.sum(), 1e-12)

        given = seen.source["labels"] if labels else None
        value = agreement(seen.source, seen.to_target, given)
        return strength * (value + agreement(seen.target, seen.to_source, None))

    return consistency
