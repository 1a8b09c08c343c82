"""Adapters beside a branch."""

from collections.abc import Iterable
from typing import Literal

from tl_jax.transfer.bottleneck.adapter import BLOCKS, Activation, Order, adapter
from tl_jax.transfer.bottleneck.initial import Init
from tl_jax.types import Transfer


def parallel_adapter(
    reduction: float = 2.0,
    where: str = BLOCKS,
    *,
    scale: float | Literal["learned", "channel"] = 4.0,
    layers: str | Iterable[str] = ("mlp",),
    width: int | None = None,
    activation: Activation = "relu",
    init: Init = "zero",
    rate: float = 0.0,
    order: Order | None = None,
    name: str = "parallel",
) -> Transfer:
    """A bottleneck beside the MLP, reading what it reads (He et al., 2022).

    y <- y + scale up(activation(down(h))), h the MLP's input. `scale=1.0` is the
    parallel adapter, 4.0 the scaled one of the paper and of AdapterHub's `par_bn`,
    "learned" one number a site. The function is unchanged at the start. In pre-norm
    blocks h is behind the norm, as the paper's; AdapterHub takes the residual stream
    itself. Arguments and errors are those of `adapter`; `width` replaces
    D // `reduction`.
    """
    return adapter(
        where,
        layers=layers,
        reduction=reduction,
        width=width,
        reads="stream",
        order=order,
        activation=activation,
        scale=scale,
        init=init,
        rate=rate,
        name=name,
    )
