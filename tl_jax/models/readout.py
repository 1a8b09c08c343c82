"""A last layer as a model of its own: what a task learns on features that stay."""

from typing import Literal, get_args

from tl_jax.losses.similarity import unit
from tl_jax.nn import dense, init_dense
from tl_jax.tree import one_of
from tl_jax.types import Key, Model, Outputs, Params, Stats

Kind = Literal["linear", "cosine"]


def readout(
    width: int, classes: int, *, kind: Kind = "linear", scale: float = 2.0
) -> Model:
    """Logits of `features` [B D]: z W + b, or scale cos(z, w_c).

    The cosine head is that of Baseline++ (Chen et al., 2019), whose authors scale by 2
    up to 200 classes; it has no bias. Raises `NoMatch` for an unknown kind.
    """
    one_of("kind", kind, get_args(Kind))

    def init(key: Key) -> tuple[Params, Stats]:
        site = init_dense(key, width, classes, width**-0.5)
        return {"kernel": site["kernel"]} if kind == "cosine" else site, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        z = inputs["features"]
        if kind == "linear":
            return Outputs(z, dense(params, z, key=key)), stats
        site = params | {"kernel": unit(params["kernel"].T).T}
        return Outputs(z, scale * dense(site, unit(z), key=key)), stats

    return Model(init, apply, width)
