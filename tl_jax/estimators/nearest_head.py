"""The probe of nearest neighbours as a model's head."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from tl_jax.estimators.neighbours import Vote, nearest_votes
from tl_jax.transfer import graft
from tl_jax.tree import node, static
from tl_jax.types import Array, Key, Params, Transfer

LEAST = 1e-6
"""Of a class that no neighbour has, so that its logit is finite."""


@node
class Neighbours:
    """log p(c | x) by votes of known rows. x [... D] -> [... C]."""

    point: ClassVar[str] = "output"
    rates: ClassVar[Mapping[str, float]] = {"features": 0.0, "labels": 0.0}
    features: Array
    """[N D]"""
    labels: Array
    """[N] int"""
    k: int = static()
    vote: str = static()
    temperature: float = static()

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Logits in the value's dtype."""
        classes = value.shape[-1]
        rows = x.reshape(-1, x.shape[-1])
        how = dict(k=self.k, vote=self.vote, temperature=self.temperature)
        of = self.features, self.labels, rows
        votes = nearest_votes(*of, classes=classes, **how)
        return jnp.log(votes + LEAST).reshape(value.shape).astype(value.dtype)


def nearest_head(
    features: Array,
    labels: Array,
    *,
    k: int = 200,
    vote: Vote = "weighted",
    temperature: float = 0.07,
    where: str = "head",
    name: str = "neighbours",
) -> Transfer:
    """Let the nearest of known rows vote in place of a linear head (Wu et al., 2018).

    logits_c = log(p(c | x) + 1e-6), p by `nearest_votes`, whose arguments these are;
    the softmax of them is p, but for classes without a vote. Nothing is trained, and
    the head's own weights have no say, only as many classes as they have. Rows are
    kept with the plan: of a body that moves they are soon those of another one.

    features [N D], labels [N] int. Raises `NoMatch` for a head that is not there,
    ValueError for rows that do not fit it and for one with a hidden layer, which does
    not read features, and what `nearest_votes` raises.
    """
    features, labels = jnp.asarray(features), jnp.asarray(labels, jnp.int32)
    how = dict(k=k, vote=vote, temperature=temperature)
    most = int(labels.max(initial=-1)) + 1
    nearest_votes(features, labels, features[:1], classes=most, **how)

    def make(key: Key, site: Params) -> Neighbours:
        if "hidden" in site:
            raise ValueError(
                f"{name}: {where!r} has a hidden layer, so that its last one does not "
                "read features: put a new head there first"
            )
        width, classes = site["kernel"].shape
        if width != features.shape[1] or most > classes:
            raise ValueError(
                f"{name}: rows of {features.shape[1]} features and {most} classes do "
                f"not fit {where!r}, which reads {width} and tells {classes} apart"
            )
        return Neighbours(features, labels, k, vote, temperature)

    return graft(where, name, make, has=("kernel",))
