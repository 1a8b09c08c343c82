"""Tuning of biases alone."""

from tl_jax.transfer.plan import rate
from tl_jax.types import Transfer


def bitfit(value: float = 1.0) -> Transfer:
    """Set the rate of every bias, those of norms too (Ben Zaken et al., 2021).

    chain(freeze(".*"), bitfit(), rate("head/.*", 1.0)) is the paper's method: W stays
    and b moves in y = x W + b and in the norms' (x - m) / s g + b. Kernels, the norms'
    scales and patches keep their rates. Raises `NoMatch` for a model without biases.
    """
    return rate(r"(?!(?:.*/)?patch/)(?:.*/)?bias", value)
