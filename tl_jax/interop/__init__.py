"""Models of other libraries: Flax Linen, NNX and Equinox."""

from tl_jax.interop.equinox import equinox
from tl_jax.interop.foreign import Foreign
from tl_jax.interop.linen import linen, over_layers
from tl_jax.interop.nnx import nnx

__all__ = ["Foreign", "equinox", "linen", "nnx", "over_layers"]
