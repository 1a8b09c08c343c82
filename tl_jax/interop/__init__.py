"""Models of other libraries: Flax Linen, NNX and Equinox."""

from tl_jax.interop.branches import BranchAdapter, branch_adapter
from tl_jax.interop.equinox import equinox
from tl_jax.interop.foreign import Foreign
from tl_jax.interop.linen import linen, over_layers
from tl_jax.interop.nnx import nnx

__all__ = [
    "BranchAdapter",
    "Foreign",
    "branch_adapter",
    "equinox",
    "linen",
    "nnx",
    "over_layers",
]
