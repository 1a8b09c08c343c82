"""One file a family: a constructor that returns a `Model`."""

from tl_jax.models.bert import bert
from tl_jax.models.mlp import mlp
from tl_jax.models.prepared import prepared
from tl_jax.models.vit import vit

__all__ = ["bert", "mlp", "prepared", "vit"]
