"""Record what PEFT's prompts, prefixes and P-tuning compute on tiny random models.

    python tests/golden/record_peft_prompts.py

Needs torch, transformers and peft. Reads the models of `bert/`, `llama/` and `gpt2/`;
writes `peft_prompts.npz`: for each case inputs, the adapter's weights before and after
one step of SGD, what the model gives at its own tokens, and how many weights move.
"""

from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
LENGTH, HIDDEN, RATE = 3, 5, 0.1
BASES = {
    "bert": "bert/bert_model",
    "llama": "llama/llama_words",
    "gpt2": "gpt2/gpt2_words",
}
TASKS = {"bert": "FEATURE_EXTRACTION", "llama": "CAUSAL_LM", "gpt2": "CAUSAL_LM"}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "prompt": ("PromptTuningConfig", {}),
    "prefix": ("PrefixTuningConfig", {}),
    "projected": (
        "PrefixTuningConfig",
        {"prefix_projection": True, "encoder_hidden_size": HIDDEN},
    ),
    "mlp": ("PromptEncoderConfig", {"encoder_hidden_size": HIDDEN}),
    "lstm": (
        "PromptEncoderConfig",
        {"encoder_hidden_size": HIDDEN, "encoder_reparameterization_type": "LSTM"},
    ),
}
CASES = [(family, method) for family in BASES for method in METHODS][:12]
"""Of GPT-2 the plain prompt and prefix alone."""


def inputs_for(family: str, width: int, seed: int) -> dict[str, np.ndarray]:
    """Rows of 7, 5 and 4 tokens, padded on the right, and weights of a loss.

    BERT's last is padded on the left: it counts positions from the row's begin.
    """
    rng = np.random.default_rng(seed)
    mask = (np.arange(7) < np.array([[7], [5], [4]])).astype(np.int32)
    if family == "bert":
        mask[2] = mask[2, ::-1]
    weights = rng.standard_normal((3, 7, width)).astype(np.float32)
    tokens = rng.integers(4, 40, (3, 7)).astype(np.int32) * mask
    return {"tokens": tokens, "mask": mask, "weights": weights * mask[..., None] / 16}


def adapted(family: str, method: str, seed: int) -> Any:
    """PEFT's model, in evaluation mode, every weight of its adapter random."""
    import peft
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    torch.manual_seed(seed)
    kind = AutoModel if family == "bert" else AutoModelForCausalLM
    base = kind.from_pretrained(HERE / BASES[family], attn_implementation="eager")
    name, options = METHODS[method]
    config = getattr(peft, name)(
        task_type=TASKS[family], num_virtual_tokens=LENGTH, **options
    )
    model = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for weight in weights_of(model).values():
            weight.copy_(0.5 * torch.randn(weight.shape))
    return model


def weights_of(model: Any) -> dict[str, Any]:
    """What moves, by PEFT's name within the prompt's encoder."""
    return dict(model.prompt_encoder["default"].named_parameters())


def own(model: Any, inputs: dict[str, np.ndarray]) -> Any:
    """What the model gives for its own tokens, as a tensor [B T ...]."""
    import torch

    given = {"input_ids": inputs["tokens"], "attention_mask": inputs["mask"]}
    out = model(**{name: torch.tensor(x).long() for name, x in given.items()})
    found = out.logits if "logits" in out else out.last_hidden_state
    return found[:, found.shape[1] - inputs["tokens"].shape[1] :]


def reference(family: str, method: str, seed: int) -> dict[str, np.ndarray]:
    """All that is recorded of a case."""
    import torch

    model = adapted(family, method, seed)
    width = model.config.hidden_size if family == "bert" else model.config.vocab_size
    inputs = inputs_for(family, width, seed)
    moving = weights_of(model)
    found = dict(inputs)
    found |= {f"before/{n}": w.detach().numpy().copy() for n, w in moving.items()}
    out = own(model, inputs)
    (out * torch.tensor(inputs["weights"])).sum().backward()
    found["out"] = out.detach().numpy()
    with torch.no_grad():
        for name, weight in moving.items():
            found[f"after/{name}"] = (weight - RATE * weight.grad).numpy()
    found["count"] = np.asarray(model.get_nb_trainable_parameters()[0])
    return found


def main() -> None:
    recorded = {}
    for seed, (family, method) in enumerate(CASES):
        found = reference(family, method, seed)
        recorded |= {f"{family}/{method}/{key}": x for key, x in found.items()}
    np.savez_compressed(HERE / "peft_prompts.npz", **recorded)


if __name__ == "__main__":
    main()
