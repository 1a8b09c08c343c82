"""Small networks at the residual sums and behind the embeddings."""

from tl_jax.transfer.bottleneck.adapter import Adapter, adapter
from tl_jax.transfer.bottleneck.houlsby import houlsby
from tl_jax.transfer.bottleneck.parallel import parallel_adapter
from tl_jax.transfer.bottleneck.pfeiffer import pfeiffer

__all__ = ["Adapter", "adapter", "houlsby", "parallel_adapter", "pfeiffer"]
