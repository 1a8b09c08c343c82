"""A critic that sees features together with what the classifier says of them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.algorithms.adaptation.critics import check_reader, on_both
from tl_jax.algorithms.adaptation.dann import reversal
from tl_jax.algorithms.adaptation.seen import Found, Seen, Side, Term
from tl_jax.losses.adversarial import (
    domain_accuracy,
    domain_cross_entropy,
    entropy_weights,
    outer,
    random_maps,
    random_outer,
    reverse,
)
from tl_jax.types import Array, Key, Player


def cdan(
    strength: float = 1.0,
    *,
    classes: int,
    entropy: bool = False,
    size: int | None = None,
    steepness: float | None = 10.0,
    critic: str = "critic",
    main: str = "model",
) -> Term:
    """Conditional domain-adversarial training; CDAN+E by `entropy` (Long et al., 2018).

    strength * (mean_s w -log d(R(h)) + mean_t w -log(1 - d(R(h)))) / (w_s + w_t)

    h is the outer product of the features and the detached softmax of the logits
    [B C*D], or with a `size` its random projection [B size], whose matrices are drawn
    once and kept in memory. w is 1, or `entropy_weights` with means w_s and w_t; R is
    `dann`'s reversal. `critic` reads h as `features`.

    TLlib: the same for batches of one size, but that log(p + 1e-5) stands in its
    entropies (`ConditionalDomainAdversarialLoss`). The authors' code divides each
    domain's sum by that domain's own weights. pytorch-adapt divides the weights by
    their largest and takes plain means, and its features descend by themselves on
    labels turned over where here the gradient is reversed.

    Raises ValueError for a `size` below 1 and a critic that does not fit.
    """
    if size is not None and size < 1:
        raise ValueError(f"cdan: size is {size}, expected at least 1 or None")

    def init(key: Key, players: Mapping[str, Player]) -> Any:
        if size is None:
            return None
        return random_maps(key, players[main].model.width, classes, size)

    def mapped(side: Side, maps: tuple[Array, Array] | None, turned: Array) -> Array:
        # Linear in the features, so that theirs is h's gradient turned, at less cost.
        features = reverse(side.outputs.features, turned)
        shares = lax.stop_gradient(jax.nn.softmax(side.outputs.logits, axis=-1))
        if maps is None:
            return outer(features, shares)
        return random_outer(features, shares, maps)

    def value(seen: Seen) -> Found:
        turned = reversal(seen.progress, steepness)
        sides = (seen.source, seen.target)
        rows = (mapped(side, seen.own, turned) for side in sides)
        *logits, moved = on_both(seen, critic, *rows)
        total = weight = jnp.float32(0)
        for side, own, real in zip(sides, logits, (True, False), strict=True):
            sure = jnp.ones(len(own))
            if entropy:
                sure = entropy_weights(side.outputs.logits)
            total += side.mean(sure * domain_cross_entropy(own, real))
            weight += side.mean(sure)
        accuracy = domain_accuracy(*logits, *(side.weight for side in sides))
        metrics = {"strength": turned, "accuracy": accuracy}
        loss = strength * total / jnp.maximum(weight, 1e-12)
        return Found(loss, None, {critic: moved}, metrics)

    check = partial(
        check_reader,
        name=critic,
        width=lambda features: size or classes * features,
        logits=(1, 2),
        main=main,
    )
    return Term(value, init, check=check)
