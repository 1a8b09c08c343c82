"""Record what transformers computes for tiny random models of Llama's shape.

    python tests/golden/record_llama.py

Needs torch and transformers. Writes `llama/<name>/` (config.json, model.safetensors)
and `llama.npz` (inputs, logits and every hidden state by name).
"""

import shutil
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
TINY = dict(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=24,
    max_position_embeddings=64,
    pad_token_id=0,
    num_labels=3,
)
ROTARY = {"rope_type": "default", "rope_theta": 500.0}
SCALED = dict(
    rope_type="llama3",
    rope_theta=500.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
LINEAR = dict(rope_type="linear", rope_theta=500.0, factor=2.5)
MODELS = {
    "llama_words": ("LlamaForCausalLM", {}),
    "llama_tied": (
        "LlamaForCausalLM",
        dict(tie_word_embeddings=True, head_dim=6, rope_parameters=ROTARY),
    ),
    "llama_sequence": ("LlamaForSequenceClassification", {}),
    "llama_scaled": (
        "LlamaForCausalLM",
        dict(rope_parameters=SCALED, head_dim=12, attention_bias=True, mlp_bias=True),
    ),
    "llama_linear": ("LlamaForCausalLM", dict(rope_parameters=LINEAR)),
}


def make(architecture: str, settings: dict, seed: int = 0) -> torch.nn.Module:
    """A model whose every weight, norms too, is random."""
    config = transformers.LlamaConfig(**TINY | settings)
    config.architectures = [architecture]
    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if "norm.weight" in name else 0.0
            weight.copy_(centre + 0.2 * torch.randn(weight.shape))
    return model


def inputs_for(seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of 9, 5 and 6 tokens, the last two padded behind and in front."""
    tokens = np.random.default_rng(seed).integers(1, TINY["vocab_size"], (3, 9))
    mask = np.ones((3, 9), np.int32)
    mask[1, 5:] = mask[2, :3] = 0
    return {"tokens": (tokens * mask).astype(np.int32), "mask": mask}


def reference(model: torch.nn.Module, inputs: dict) -> dict[str, np.ndarray]:
    """Logits and hidden states, the last behind the final norm."""
    tokens, mask = (torch.tensor(inputs[name]).long() for name in ("tokens", "mask"))
    with torch.no_grad():
        out = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    found = {f"hidden/{i}": h.numpy() for i, h in enumerate(out.hidden_states)}
    return found | ({"logits": out.logits.numpy()} if "logits" in out else {})


def main() -> None:
    recorded = {}
    for seed, (name, (architecture, settings)) in enumerate(MODELS.items()):
        model, inputs = make(architecture, settings, seed), inputs_for(seed)
        folder = HERE / "llama" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        found = inputs | reference(model, inputs)
        recorded |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez_compressed(HERE / "llama.npz", **recorded)


if __name__ == "__main__":
    main()
