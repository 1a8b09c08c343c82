"""One adapter a block."""

from tl_jax.transfer.bottleneck.adapter import BLOCKS, Activation, Order, adapter
from tl_jax.transfer.bottleneck.initial import Init
from tl_jax.types import Transfer


def pfeiffer(
    reduction: float = 16.0,
    where: str = BLOCKS,
    *,
    width: int | None = None,
    activation: Activation = "relu",
    init: Init = "bert",
    rate: float = 0.0,
    order: Order | None = None,
    name: str = "pfeiffer",
) -> Transfer:
    """A bottleneck that reads the block's result (Pfeiffer et al., 2021).

    y <- y + up(activation(down(norm(x + y)))), before the residual sum x + y and the
    same norm once more: AdapterHub's `seq_bn`. In pre-norm blocks it reads x + y.
    Arguments and errors are those of `adapter`; `width` replaces D // `reduction`.
    """
    return adapter(
        where,
        layers=("mlp",),
        reduction=reduction,
        width=width,
        reads="sum",
        order=order,
        activation=activation,
        init=init,
        rate=rate,
        name=name,
    )
