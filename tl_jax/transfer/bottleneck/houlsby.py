"""Adapters behind attention and MLP."""

from tl_jax.transfer.bottleneck.adapter import BLOCKS, Activation, adapter
from tl_jax.transfer.bottleneck.initial import Init
from tl_jax.types import Transfer


def houlsby(
    reduction: float = 16.0,
    where: str = BLOCKS,
    *,
    width: int | None = None,
    activation: Activation = "silu",
    init: Init = "houlsby",
    rate: float = 0.0,
    name: str = "houlsby",
) -> Transfer:
    """A bottleneck behind both branches of matching blocks (Houlsby et al., 2019).

    y <- y + up(activation(down(y))), before the residual sum and its norm. The paper
    also trains the norms and AdapterHub does not; nor does this: `rate` them.
    AdapterHub's `double_seq_bn` is this with `init="bert"`. Arguments and errors are
    those of `adapter`; `width` replaces D // `reduction`.
    """
    return adapter(
        where,
        reduction=reduction,
        width=width,
        activation=activation,
        init=init,
        rate=rate,
        name=name,
    )
