"""Record adapters as PEFT writes them, and what they compute on tiny random models.

    python tests/golden/record_peft_files.py

Needs torch, transformers and peft. Reads the models of `bert/`, `llama/` and
`vision/`; writes a folder a case below `peft/` (adapter_config.json,
adapter_model.safetensors) and `peft.npz`: the inputs by family and each case's logits.
"""

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
BASES = {
    "bert": ("bert/bert_sequence", "AutoModelForSequenceClassification", "SEQ_CLS"),
    "words": ("bert/bert_tokens", "AutoModelForTokenClassification", "TOKEN_CLS"),
    "llama": ("llama/llama_words", "AutoModelForCausalLM", "CAUSAL_LM"),
    "vit": ("vision/vit_image", "ViTForImageClassification", None),
}
QV, LN = ["query", "value"], ["LayerNorm"]
LLAMA = ["q_proj", "v_proj"]
VIT = ["q_proj", "v_proj"]
SOME = {
    "rank_pattern": {"layer.0.attention.self.query": 3},
    "alpha_pattern": {"value": 3},
}
IA3 = ["key", "value", "output.dense"]
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lora": ("bert", "LoraConfig", dict(r=2, target_modules=QV, bias="lora_only")),
    "lora_patterns": ("bert", "LoraConfig", dict(r=2, target_modules=QV, **SOME)),
    "lora_all": (
        "words",
        "LoraConfig",
        dict(r=2, target_modules=["dense"], bias="all"),
    ),
    "lora_table": (
        "words",
        "LoraConfig",
        dict(r=2, target_modules=["word_embeddings", "query"], use_rslora=True),
    ),
    "lora_llama": (
        "llama",
        "LoraConfig",
        dict(r=2, target_modules=[*LLAMA, "embed_tokens", "lm_head"]),
    ),
    "lora_vit": ("vit", "LoraConfig", dict(r=2, target_modules=VIT)),
    "lora_conv": ("vit", "LoraConfig", dict(r=2, target_modules=["projection", "fc1"])),
    "dora": ("bert", "LoraConfig", dict(r=2, target_modules=QV, use_dora=True)),
    "pissa": (
        "llama",
        "LoraConfig",
        dict(r=2, target_modules=LLAMA, init_lora_weights="pissa"),
    ),
    "adalora": (
        "bert",
        "AdaLoraConfig",
        dict(init_r=3, target_r=2, total_step=10, target_modules=QV),
    ),
    "vera": ("llama", "VeraConfig", dict(r=3, target_modules=[*LLAMA, "down_proj"])),
    "loha": ("bert", "LoHaConfig", dict(r=2, target_modules=QV)),
    "lokr": ("llama", "LoKrConfig", dict(r=1, target_modules=[*LLAMA, "up_proj"])),
    "lokr_both": (
        "bert",
        "LoKrConfig",
        dict(r=1, target_modules=QV, decompose_both=True, decompose_factor=4),
    ),
    "ia3": (
        "bert",
        "IA3Config",
        dict(target_modules=IA3, feedforward_modules=["output.dense"]),
    ),
    "norms": ("bert", "LNTuningConfig", dict(target_modules=LN)),
    "prompt": ("words", "PromptTuningConfig", dict(num_virtual_tokens=3)),
    "prompt_llama": ("llama", "PromptTuningConfig", dict(num_virtual_tokens=3)),
    "prefix": ("llama", "PrefixTuningConfig", dict(num_virtual_tokens=3)),
    "projected": (
        "llama",
        "PrefixTuningConfig",
        dict(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=4),
    ),
    "p_tuning": (
        "llama",
        "PromptEncoderConfig",
        dict(num_virtual_tokens=3, encoder_hidden_size=4),
    ),
}


def inputs_for(family: str) -> dict[str, np.ndarray]:
    """Rows of 7, 5 and 4 tokens, padded on the right; or two images."""
    rng = np.random.default_rng(0)
    if family == "vit":
        return {"image": rng.standard_normal((2, 3, 8, 8)).astype(np.float32)}
    mask = (np.arange(7) < np.array([[7], [5], [4]])).astype(np.int32)
    return {"tokens": rng.integers(4, 40, (3, 7)).astype(np.int32) * mask, "mask": mask}


def base_of(family: str) -> Any:
    """The base model, in evaluation mode."""
    import transformers

    folder, kind, _ = BASES[family]
    return getattr(transformers, kind).from_pretrained(HERE / folder).eval()


def adapted(case: str, seed: int = 0) -> Any:
    """PEFT's model, every weight of its adapter random."""
    import peft
    import torch

    family, kind, options = CASES[case]
    torch.manual_seed(seed)
    task = {} if BASES[family][2] is None else {"task_type": BASES[family][2]}
    config = getattr(peft, kind)(**task, **options)
    model = peft.get_peft_model(base_of(family), config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn(weight.shape))
    return model


def logits(model: Any, family: str) -> np.ndarray:
    """What it answers; of tokens in front nothing."""
    import torch

    own = inputs_for(family)
    names = {"tokens": "input_ids", "mask": "attention_mask", "image": "pixel_values"}
    given = {names[name]: torch.tensor(x) for name, x in own.items()}
    given = {n: x.long() if x.dtype == torch.int32 else x for n, x in given.items()}
    with torch.no_grad():
        found = model(**given).logits.numpy()
    if found.ndim == 3:
        found = found[:, found.shape[1] - own["tokens"].shape[1] :]
    return found


def save(model: Any, folder: Path) -> None:
    """The two files that matter."""
    with tempfile.TemporaryDirectory() as made:
        model.save_pretrained(made)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(Path(made) / name, folder / name)


def main() -> None:
    warnings.simplefilter("ignore")
    recorded = {}
    for family in BASES:
        own = inputs_for(family)
        recorded |= {f"inputs/{family}/{name}": x for name, x in own.items()}
    for seed, case in enumerate(CASES):
        model = adapted(case, seed)
        recorded[f"logits/{case}"] = logits(model, CASES[case][0])
        save(model, HERE / "peft" / case)
        config = HERE / "peft" / case / "adapter_config.json"
        config.write_text(config.read_text().replace(f"{HERE}/", ""))
    np.savez_compressed(HERE / "peft.npz", **recorded)


if __name__ == "__main__":
    main()
