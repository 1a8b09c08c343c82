"""Record what transformers computes and writes for tiny random GPT-2s and Llamas.

    python tests/golden/record_gpt2.py

Needs torch and transformers. Writes `gpt2/<name>/` (config.json, model.safetensors),
`gpt2.npz` (inputs, logits and every hidden state by name) and `written.npz` (what
`generate` writes greedily, of the tiny Llamas too).
"""

import shutil
from pathlib import Path

import numpy as np
import record_llama
import torch
import transformers

HERE = Path(__file__).parent
TINY = dict(
    vocab_size=40,
    n_embd=16,
    n_layer=2,
    n_head=4,
    n_positions=24,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    num_labels=3,
)
MODELS = {
    "gpt2_words": ("GPT2LMHeadModel", {}),
    "gpt2_untied": (
        "GPT2LMHeadModel",
        dict(tie_word_embeddings=False, n_inner=20, activation_function="relu"),
    ),
    "gpt2_sequence": ("GPT2ForSequenceClassification", {}),
}
LENGTH = 8


def make(architecture: str, settings: dict, seed: int = 0) -> torch.nn.Module:
    """A model whose every weight, norms too, is random."""
    config = transformers.GPT2Config(**TINY | settings)
    config.architectures = [architecture]
    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if "ln_" in name and "weight" in name else 0.0
            weight.copy_(centre + 0.2 * torch.randn(weight.shape))
    return model


def reference(model: torch.nn.Module, inputs: dict) -> dict[str, np.ndarray]:
    """Logits and hidden states; positions count the mask, as `generate` has it."""
    tokens, mask = (torch.tensor(inputs[name]).long() for name in ("tokens", "mask"))
    at = (mask.cumsum(1) - 1).clamp(min=0)
    how = dict(position_ids=at, output_hidden_states=True)
    with torch.no_grad():
        out = model(input_ids=tokens, attention_mask=mask, **how)
    found = {f"hidden/{i}": h.numpy() for i, h in enumerate(out.hidden_states)}
    return found | ({"logits": out.logits.numpy()} if "logits" in out else {})


def written(model: torch.nn.Module, inputs: dict, length: int = LENGTH) -> np.ndarray:
    """What `generate` writes greedily behind rows that are padded on the left."""
    tokens, mask = (torch.tensor(inputs[name]).long() for name in ("tokens", "mask"))
    how = dict(max_new_tokens=length, do_sample=False, pad_token_id=0, eos_token_id=2)
    out = model.generate(input_ids=tokens, attention_mask=mask, **how)
    found = out[:, tokens.shape[1] :].numpy()
    return np.pad(found, ((0, 0), (0, length - found.shape[1]))).astype(np.int32)


def prompts_for(seed: int) -> dict[str, np.ndarray]:
    """Rows of 7, 4 and 2 tokens, padded in front."""
    tokens = np.random.default_rng(seed).integers(3, TINY["vocab_size"], (3, 7))
    mask = (np.arange(7)[None] >= np.array([[0], [3], [5]])).astype(np.int32)
    return {"tokens": (tokens * mask).astype(np.int32), "mask": mask}


def main() -> None:
    recorded, rows = {}, {}
    for seed, (name, (architecture, settings)) in enumerate(MODELS.items()):
        model, inputs = (
            make(architecture, settings, seed),
            record_llama.inputs_for(seed),
        )
        folder = HERE / "gpt2" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        found = inputs | reference(model, inputs)
        recorded |= {f"{name}/{key}": value for key, value in found.items()}
        if architecture.endswith("LMHeadModel"):
            own = prompts_for(seed)
            own["written"] = written(model, own)
            rows |= {f"{name}/{key}": value for key, value in own.items()}
    for seed, (name, (architecture, settings)) in enumerate(
        record_llama.MODELS.items()
    ):
        if architecture.endswith("CausalLM"):
            own = prompts_for(seed)
            own["written"] = written(
                record_llama.make(architecture, settings, seed), own
            )
            rows |= {f"{name}/{key}": value for key, value in own.items()}
    np.savez_compressed(HERE / "gpt2.npz", **recorded)
    np.savez_compressed(HERE / "written.npz", **rows)


if __name__ == "__main__":
    main()
