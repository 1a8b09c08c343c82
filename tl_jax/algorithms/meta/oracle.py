"""An upper bound: a network that is told which task it is in."""

from collections.abc import Mapping
from typing import Any

from tl_jax.algorithms.meta.learner import (
    Embedded,
    Learner,
    Norm,
    Seen,
    check_norm,
    kept,
    on_query,
    on_support,
)
from tl_jax.tree import map_with_path, no_match, paths
from tl_jax.types import Array, Model, Params, Stream


def oracle(
    model: Model,
    *,
    told: str = "told",
    patch: str = "context",
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """A network with the task's own parameters as further inputs (Finn et al., 2017).

    x W + c u + b at every site with a `context` of that name, c the input `told` [B S]
    of the support set, the same in all its rows, whose labels it does not read. The
    plan grafts `context(S, where)`, whose u moves and whose c does not. `norm`: whose
    statistics batch norm uses. Raises `NoMatch` for an unknown norm and for an input
    that is not there, ValueError without a context and for one of another size.
    """
    check_norm(norm)

    def fit(params_of: Mapping[str, Params], support: Stream, seen: Seen) -> Embedded:
        params = with_context(params_of[name], support, told, patch)
        stats = seen.stats[name]
        if norm != "transductive":
            how = norm, seen
            _, stats = on_support(model, params, stats, support["inputs"], *how)
        return Embedded(params, stats)

    def predict(fitted: Embedded, inputs: Mapping[str, Any], seen: Seen) -> tuple:
        outputs, moved = on_query(model, *fitted, inputs, norm, seen)
        return outputs, kept(name, moved, norm, seen)

    return Learner(fit, predict, None)


def with_context(params: Params, support: Stream, told: str, patch: str) -> Params:
    """The parameters with an input of the support set in every context."""
    inputs, end = support["inputs"], f"patch/{patch}/context"
    if told not in inputs:
        raise no_match("the oracle's input", told, inputs)
    value, ends = inputs[told][0], f"/{end}"
    if not any(f"/{path}".endswith(ends) for path in paths(params)):
        raise ValueError(
            f"no parameter is {end!r}: graft `context` in the plan, of size "
            f"{len(value)}, where the network shall be told its task"
        )

    def tell(path: str, leaf: Array) -> Array:
        return _sized(path, leaf, value) if f"/{path}".endswith(ends) else leaf

    return map_with_path(tell, params)


def _sized(path: str, leaf: Array, value: Array) -> Array:
    if leaf.shape != value.shape:
        raise ValueError(
            f"{path} has {len(leaf)} numbers, but a task is told {len(value)}: give "
            f"`context` that size"
        )
    return value.astype(leaf.dtype)
