"""Soft transfer between domains of different feature spaces."""

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Seen, Side, Term
from tl_jax.losses.soft_means import soft_means
from tl_jax.types import Array


def soft_transfer(strength: float = 0.001) -> Term:
    """strength `losses.soft_means` of features, the soft transfer network's alignment.

    (Yao et al., 2019). The target's labelled rows count whole, its other rows by the
    model's own probabilities, which gradients pass by, times the share of the steps
    that is done. With `models.shared_space` for source and target of different columns
    and joint=False; in one space it serves as well. Beside it the authors have the
    cross entropy of both domains' labelled rows, which `adapted` has, and a decay of
    all weights, which the optimiser has.

    Raises ValueError without a head, a source or a target, and for a negative strength.
    """
    if strength < 0:
        raise ValueError(f"strength={strength}, expected 0 or more")

    def value(seen: Seen) -> Array:
        if seen.source is None or seen.target is None:
            raise ValueError("soft_transfer wants both a source and a target")
        if seen.source.outputs.logits is None:
            raise ValueError("soft_transfer wants a model with a head of classes")
        width = seen.source.outputs.logits.shape[-1]
        guessed = jax.nn.softmax(seen.target.outputs.logits.astype(jnp.float32))
        rows = [seen.target.outputs.features]
        classes = [jax.lax.stop_gradient(guessed)]
        weights, trust = [seen.target.weight], [_all(seen.target, seen.progress)]
        if seen.labelled is not None:
            rows.append(seen.labelled.outputs.features)
            classes.append(jax.nn.one_hot(seen.labelled.stream["labels"], width))
            weights.append(seen.labelled.weight)
            trust.append(_all(seen.labelled, 1.0))
        found = soft_means(
            seen.source.outputs.features,
            jax.nn.one_hot(seen.source.stream["labels"], width),
            *map(jnp.concatenate, (rows, classes)),
            seen.source.weight,
            *map(jnp.concatenate, (weights, trust)),
        )
        return strength * found

    return Term(value)


def _all(side: Side, share: Array | float) -> Array:
    return jnp.full_like(side.weight, share)
