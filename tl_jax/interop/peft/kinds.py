"""The kinds of adapters by PEFT's name."""

from collections.abc import Mapping

from tl_jax.interop.peft.codec import Adapter, Codec, Written
from tl_jax.interop.peft.lora import ADALORA, LORA
from tl_jax.interop.peft.products import IA3S, LOHA, LOKR, VERA
from tl_jax.interop.peft.prompts import P_TUNING, PREFIX, PROMPT
from tl_jax.types import Patch


def _no_patches(adapter: Adapter) -> dict[str, Patch]:
    return {}


def _nothing(nodes: dict[str, Patch]) -> Written:
    return Written({}, {}, {})


NORMS = Codec((), frozenset(), _no_patches, _nothing)
"""Weights of norms, which are whole modules."""
CODECS: Mapping[str, Codec] = {
    "LORA": LORA,
    "ADALORA": ADALORA,
    "VERA": VERA,
    "LOHA": LOHA,
    "LOKR": LOKR,
    "IA3": IA3S,
    "LN_TUNING": NORMS,
    "PROMPT_TUNING": PROMPT,
    "P_TUNING": P_TUNING,
    "PREFIX_TUNING": PREFIX,
}
NAMES = {
    "PROMPT_TUNING": "prompt",
    "PREFIX_TUNING": "prefix",
}
"""Names of patches, where they are not the kind's own in small letters."""
PROMPTS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")
"""Kinds whose modules stand under `base_model.`, without `model.`."""
BIASES = {"LORA": "lora_only", "ADALORA": "lora_only", "VERA": "vera_only"}
"""Kinds that train biases, and their word for those of the adapted modules."""
PARTS = (
    *("lora_A.weight", "lora_B.weight", "lora_magnitude_vector.weight"),
    *("lora_A", "lora_B", "lora_E", "lora_embedding_A", "lora_embedding_B"),
    *("lora_magnitude_vector", "vera_lambda_d", "vera_lambda_b", "ia3_l"),
    *(f"hada_w{n}_{s}" for n in (1, 2) for s in "ab"),
    *(f"lokr_w{n}{s}" for n in (1, 2) for s in ("", "_a", "_b")),
)
"""What stands behind a module's name."""
WRAPS = ("base_layer", "modules_to_save", "ln_tuning_layers")
"""What may stand between a whole module and its weights."""
SHARED = ("vera_A", "vera_B", "prompt_embeddings")
"""Tensors of no module."""
