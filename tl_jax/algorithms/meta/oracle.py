"""An upper bound: a network that is told which task it is in."""

from collections.abc import Callable

from tl_jax.algorithms.meta.inner import Inner
from tl_jax.algorithms.meta.learner import Learner, Loss, Norm
from tl_jax.algorithms.meta.maml import Start, maml
from tl_jax.tree import map_with_path, no_match, paths
from tl_jax.types import Array, Model, Outputs, Params, Stream


def oracle(
    model: Model,
    loss: Loss,
    inner: Inner,
    *,
    told: str = "told",
    patch: str = "context",
    test_steps: int | None = None,
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """A network with the task's own parameters as further inputs (Finn et al., 2017).

    x W + c u + b at every site with a `context` of that name, c the input `told` [B S]
    of the support set, the same in all its rows; then `inner` steps as of `maml`, by
    default none are needed. The plan grafts `context(S, where)`, whose u moves and
    whose c does not. Everything else is `maml`'s. Raises `NoMatch` for an input that
    is not there, ValueError without a context and for one of another size.
    """
    how = dict(test_steps=test_steps, norm=norm, name=name)
    return maml(model, loss, inner, start=told_context(told, patch), **how)


def told_context(told: str = "told", patch: str = "context") -> Start:
    """Contexts that hold an input of the support set."""

    def start(
        params: Params, support: Stream, look: Callable[[Params], Outputs]
    ) -> Params:
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

    return start


def _sized(path: str, leaf: Array, value: Array) -> Array:
    if leaf.shape != value.shape:
        raise ValueError(
            f"{path} has {len(leaf)} numbers, but a task is told {len(value)}: give "
            f"`context` that size"
        )
    return value.astype(leaf.dtype)
