"""Models of other libraries: Flax Linen, NNX and Equinox."""

from tl_jax.interop.foreign import Foreign
from tl_jax.interop.linen import linen, over_layers

__all__ = ["Foreign", "linen", "over_layers"]
