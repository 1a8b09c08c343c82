"""A model behind its preprocessing."""

from collections.abc import Callable, Mapping
from typing import Any

from tl_jax.types import Model


def prepared(
    model: Model, preprocess: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Model:
    """A model whose `apply` runs `preprocess(inputs) -> inputs` first.

    So pictures travel to the device as bytes, and no algorithm knows. `init`, `width`
    and `decode` are the model's own.
    """

    def apply(params, stats, inputs, *, key=None, norm="running"):
        return model.apply(params, stats, preprocess(inputs), key=key, norm=norm)

    return model._replace(apply=apply)
