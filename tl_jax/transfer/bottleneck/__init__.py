"""Small networks at the residual sums and behind the embeddings."""

from tl_jax.transfer.bottleneck.adapter import Adapter, adapter
from tl_jax.transfer.bottleneck.compacter import Compacter, CompacterRule, compacter
from tl_jax.transfer.bottleneck.dropped import AdapterDrop, adapter_drop, drop_adapters
from tl_jax.transfer.bottleneck.fusion import Fusion, adapter_fusion, fusion_penalty
from tl_jax.transfer.bottleneck.houlsby import houlsby
from tl_jax.transfer.bottleneck.invertible import Coupling, Invertible, invertible
from tl_jax.transfer.bottleneck.parallel import parallel_adapter
from tl_jax.transfer.bottleneck.pfeiffer import pfeiffer

__all__ = [
    "Adapter",
    "AdapterDrop",
    "Compacter",
    "CompacterRule",
    "Coupling",
    "Fusion",
    "Invertible",
    "adapter",
    "adapter_drop",
    "adapter_fusion",
    "compacter",
    "drop_adapters",
    "fusion_penalty",
    "houlsby",
    "invertible",
    "parallel_adapter",
    "pfeiffer",
]
