"""Classes of a task: who belongs to which, which are there, and their means."""

import jax
import jax.numpy as jnp

from tl_jax.types import Array, Stream

ABSENT = -1e9
"""The logit of a class without a support row of weight above 0."""


def memberships(stream: Stream, ways: int) -> Array:
    """[B C] an example's weight at its own class, 0 elsewhere.

    A row that counts, but whose label is outside 0..C-1, is NaN, so that the mistake
    shows in the first logged loss.
    """
    labels, weight = stream["labels"], stream["weight"]
    own = jax.nn.one_hot(labels, ways, dtype=weight.dtype) * weight[:, None]
    known = (labels >= 0) & (labels < ways) | (weight == 0)
    return jnp.where(known[:, None], own, jnp.nan)


def there(member: Array) -> Array:
    """[C] whether a class has a support row of weight above 0. member [B C]."""
    return ~(member.sum(0) <= 0)  # NaN is there, and shows


def masked(logits: Array, present: Array) -> Array:
    """Logits [... C] with `ABSENT` for classes that are not there, present [C]."""
    return jnp.where(present, logits, jnp.asarray(ABSENT, logits.dtype))


def class_means(x: Array, member: Array) -> Array:
    """Weighted means by class, 0 for absent ones. x [B D], member [B C] -> [C D]."""
    total = member.sum(0)
    summed = jnp.einsum("bc,bd->cd", member, x, precision="highest")
    return summed / jnp.where(total > 0, total, 1)[:, None]


def check_ways(ways: int) -> None:
    """Raise ValueError unless there are two classes or more."""
    if ways < 2:
        raise ValueError(f"ways is {ways}, expected 2 or more")
