"""Prototypical networks: a query belongs where a class's mean is nearest."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from tl_jax.algorithms.meta.classes import (
    check_ways,
    class_means,
    masked,
    memberships,
    there,
)
from tl_jax.algorithms.meta.heads import (
    Head,
    Number,
    check_positive,
    number,
    on_model,
)
from tl_jax.algorithms.meta.learner import Learner, Norm
from tl_jax.losses.similarity import cosines, squared_distances
from tl_jax.tree import one_of
from tl_jax.types import Array, Model, Outputs, Stream

Distance = Literal["euclidean", "cosine"]
Transform = Callable[[Any, Array], Array]
"""(params_of, features [B D]) -> features [B D], of support and queries alike."""


def prototypical(
    model: Model,
    ways: int,
    *,
    distance: Distance = "euclidean",
    temperature: Number = 1.0,
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """Logits -|z - c|^2, or cos(z, c), over a temperature (Snell et al., 2017).

    c_k = sum_i w_i [y_i = k] z_i / sum_i w_i [y_i = k]

    z are the features [B D] of the model, w the support weights. A class without a
    support row gets -1e9. The temperature may be learned (`learned`). `norm`: whose
    statistics batch norm uses. Raises `NoMatch` for an unknown distance or norm,
    ValueError for fewer than two ways and a temperature not above 0.
    """
    head = prototypes(ways, distance=distance, temperature=temperature)
    return on_model(model, head, norm=norm, name=name)


def prototypes(
    ways: int,
    *,
    distance: Distance = "euclidean",
    temperature: Number = 1.0,
    transform: Transform | None = None,
) -> Head:
    """The head of `prototypical`, on features that went through `transform`."""
    check_ways(ways)
    one_of("distance", distance, get_args(Distance))
    check_positive("temperature", temperature)

    def fit(params_of: Any, outputs: Outputs, support: Stream) -> tuple:
        member = memberships(support, ways)
        z = outputs.features
        z = z if transform is None else transform(params_of, z)
        scale = 1 / number(temperature, params_of)
        return class_means(z, member), there(member), scale, params_of

    def score(fitted: tuple, outputs: Outputs) -> Array:
        means, present, scale, params_of = fitted
        z = outputs.features
        z = z if transform is None else transform(params_of, z)
        if distance == "cosine":
            return masked(scale * cosines(z, means), present)
        return masked(-scale * squared_distances(z, means), present)

    return Head(fit, score)
