"""A model that has nothing to compute: its features were computed before."""

from tl_jax.models.head import head
from tl_jax.types import Model, Outputs


def frozen_features(width: int, field: str = "features") -> Model:
    """Features [B D] as they come in, `inputs[field]`, and a `head` if there is one.

    What a frozen body gives is the same each time, so it need be computed but once.
    Raises ValueError for another width.
    """

    def init(key):
        return {}, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        x = inputs[field]
        if x.shape[-1] != width:
            raise ValueError(f"{field!r} is {list(x.shape)}, expected [B {width}]")
        logits = None
        if "head" in params:
            logits = head(params["head"], x, rate=0.0, activation="relu", key=key)
        return Outputs(x, logits, None, (x,)), stats

    return Model(init, apply, width)
