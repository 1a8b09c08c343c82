"""Nearest centroids of centred and normalised features, and nearest neighbours."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.algorithms.meta.classes import check_ways, masked, memberships, there
from tl_jax.algorithms.meta.heads import Head, on_model
from tl_jax.algorithms.meta.learner import Learner, Norm
from tl_jax.algorithms.meta.prototypical import prototypes
from tl_jax.losses.similarity import squared_distances, unit
from tl_jax.tree import one_of
from tl_jax.types import Array, Model, Outputs, Params, Stream

Prepare = Literal["UN", "L2N", "CL2N"]
Mean = Callable[[Mapping[str, Params]], Array] | Array


def simpleshot(
    model: Model,
    ways: int,
    *,
    prepare: Prepare = "CL2N",
    mean: Mean | None = None,
    norm: Norm = "running",
    name: str = "model",
) -> Learner:
    """The nearest centroid of prepared features, -|x - c|^2 (Wang et al., 2019).

    "UN": x = z.  "L2N": x = z / |z|.  "CL2N": x = (z - m) / |z - m|

    m is the mean [D] of the base classes' features: an array or a function of all
    players' parameters, such as `learned("mean")` of a frozen player `values(mean=m)`,
    which a checkpoint keeps. A class without a support row gets -1e9. `norm`: whose
    statistics batch norm uses. Raises `NoMatch` for an unknown preparation or norm,
    ValueError for fewer than two ways, and where a mean is missing or not used.
    """
    one_of("prepare", prepare, get_args(Prepare))
    if (prepare == "CL2N") != (mean is not None):
        raise ValueError(
            f"prepare is {prepare!r} and mean is {'None' if mean is None else 'given'};"
            " expected a mean with 'CL2N' and with nothing else"
        )

    def transform(params_of: Mapping[str, Params], z: Array) -> Array:
        if prepare == "UN":
            return z
        if prepare == "CL2N":
            z = z - (mean(params_of) if callable(mean) else mean)
        return unit(z)

    head = prototypes(ways, transform=transform)
    return on_model(model, head, norm=norm, name=name)


def neighbours(
    model: Model, ways: int, k: int = 1, *, norm: Norm = "running", name: str = "model"
) -> Learner:
    """Votes of the k nearest support rows (Fix and Hodges, 1951), for predictions.

    logits = a class's rows among the k + 1 / (2 + its first one's rank), which decides
    ties for the nearer. Distances are Euclidean; rows of weight 0 don't vote, others
    once each. A class without a support row gets -1e9. There is no gradient. `norm`:
    whose statistics batch norm uses. Raises `NoMatch` for an unknown norm, ValueError
    for fewer than two ways, and for k outside 1 and the rows there are.
    """
    check_ways(ways)

    def fit(params_of: Any, outputs: Outputs, support: Stream) -> Any:
        rows = len(outputs.features)
        if not 1 <= k <= rows:
            raise ValueError(f"k is {k}, expected 1 to {rows}, the support rows")
        return outputs.features, memberships(support, ways)

    def score(fitted: Any, outputs: Outputs) -> Array:
        z, member = fitted
        counts = member.sum(1) > 0
        near = jnp.where(counts, -squared_distances(outputs.features, z), -jnp.inf)
        best, rows = jax.lax.top_k(near, k)
        own = (member[rows] > 0) & jnp.isfinite(best)[..., None]  # [B k C]
        first = jnp.where(own.any(1), own.argmax(1), k)
        votes = own.sum(1) + 1 / (2 + first) + 0 * member.sum()
        return masked(votes.astype(near.dtype), there(member))

    return on_model(model, Head(fit, score), norm=norm, name=name)
