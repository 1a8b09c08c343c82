"""Record what AdapterHub's adapters computes on the tiny random models.

    python tests/golden/record_adapters.py

Needs torch and `adapters` 1.3 with the transformers that it pins. Reads the models of
`bert/`, `llama/` and `vision/`; writes `adapters.npz`: for each case the inputs, every
weight of the adapters, the logits, and the same weights after one step of SGD of 0.1 on
`logits.square().mean()`, without dropout.
"""

from pathlib import Path

import adapters
import adapters.composition as compose
import numpy as np
import torch
import transformers
from adapters import (
    CompacterConfig,
    CompacterPlusPlusConfig,
    DoubleSeqBnConfig,
    ParBnConfig,
    SeqBnConfig,
    SeqBnInvConfig,
)

HERE = Path(__file__).parent
RATE = 0.1
BERT = "bert/bert_sequence", "BertForSequenceClassification", "bert.npz"
WORDS = "bert/bert_words", "BertForMaskedLM", "bert.npz"
LLAMA = "llama/llama_words", "LlamaForCausalLM", "llama.npz"
VIT = "vision/vit_image", "ViTForImageClassification", "vision.npz"
SIZE = dict(reduction_factor=2)
CASES = {
    "houlsby": (BERT, DoubleSeqBnConfig(**SIZE)),
    "pfeiffer": (BERT, SeqBnConfig(reduction_factor=4, non_linearity="gelu")),
    "parallel": (BERT, ParBnConfig(**SIZE)),
    "learned": (BERT, ParBnConfig(**SIZE, scaling="learned")),
    "compacter": (BERT, CompacterConfig(**SIZE)),
    "compacter++": (BERT, CompacterPlusPlusConfig(**SIZE)),
    "left_out": (BERT, SeqBnConfig(**SIZE, leave_out=[0])),
    "invertible": (WORDS, SeqBnInvConfig(**SIZE)),
    "fusion": (BERT, SeqBnConfig(**SIZE)),
    "llama": (LLAMA, SeqBnConfig(**SIZE)),
    "vit": (VIT, DoubleSeqBnConfig(**SIZE)),
}


def loaded(folder: str, architecture: str) -> torch.nn.Module:
    """The recorded model, ready for adapters."""
    config = transformers.AutoConfig.from_pretrained(HERE / folder)
    if config.model_type == "llama":  # older files keep the base elsewhere
        config.rope_theta = config.rope_parameters["rope_theta"]
    kind = getattr(transformers, architecture)
    model = kind.from_pretrained(HERE / folder, config=config).eval()
    adapters.init(model)
    return model


def inputs_of(folder: str, file: str) -> dict[str, np.ndarray]:
    """The inputs that were recorded for a model."""
    name = folder.split("/")[1]
    with np.load(HERE / file) as recorded:
        known = ("tokens", "mask", "types", "image")
        return {k: recorded[f"{name}/{k}"] for k in known if f"{name}/{k}" in recorded}


def logits_of(model: torch.nn.Module, inputs: dict) -> torch.Tensor:
    """The model on inputs by our names; zeros at padding."""
    if "image" in inputs:
        pixels = torch.tensor(inputs["image"]).permute(0, 3, 1, 2)
        return model(pixel_values=pixels).logits
    names = {"tokens": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}
    given = {names[k]: torch.tensor(v).long() for k, v in inputs.items()}
    logits = model(**given).logits
    return logits * given["attention_mask"][..., None] if logits.ndim == 3 else logits


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The adapters' weights that move, once each."""
    own = ("adapter", "shared_parameters", "invertible")
    return {
        name: weight
        for name, weight in model.named_parameters()
        if weight.requires_grad and any(part in name for part in own)
    }


def invert(model: torch.nn.Module) -> None:
    """The inverse before the decoder, as AdapterHub's own language model heads have.

    Transformers' classes go without it there.
    """
    block = model.bert.invertible_adapters["a"]
    decoder = model.cls.predictions.decoder
    decoder.register_forward_pre_hook(lambda _, given: (block(given[0], rev=True),))


def record(name: str, model: torch.nn.Module, inputs: dict) -> dict[str, np.ndarray]:
    """Weights, logits, and weights after a step."""
    weights = {n: w for n, w in model.named_parameters() if not_base(n)}
    moving = trainable(model)
    logits = logits_of(model, inputs)
    grads = torch.autograd.grad(logits.square().mean(), list(moving.values()))
    found = {f"before/{n}": w.detach().numpy() for n, w in weights.items()}
    found["logits"] = logits.detach().numpy()
    for (n, weight), grad in zip(moving.items(), grads, strict=True):
        found[f"after/{n}"] = (weight - RATE * grad).detach().numpy()
    return {f"{name}/{k}": v for k, v in (found | inputs).items()}


def not_base(name: str) -> bool:
    """True for a weight that adapters added."""
    return any(p in name for p in ("adapter", "shared_parameters", "invertible"))


def main() -> None:
    recorded = {}
    for seed, (name, ((folder, architecture, file), config)) in enumerate(
        CASES.items()
    ):
        model = loaded(folder, architecture)
        inputs = inputs_of(folder, file)
        names = ("a", "b") if name == "fusion" else ("a",)
        for own in names:
            model.add_adapter(own, config=config)
        if name == "fusion":
            fused = compose.Fuse(*names)
            model.add_adapter_fusion(fused)
            model.train_adapter_fusion(fused)
        else:
            model.train_adapter("a")
        model.eval()
        if name == "invertible":
            invert(model)
        torch.manual_seed(seed)
        with torch.no_grad():
            for own, weight in model.named_parameters():
                if not_base(own):
                    weight.copy_(0.2 * torch.randn(weight.shape))
        recorded |= record(name, model, inputs)
        count = sum(w.numel() for w in trainable(model).values())
        print(name, recorded[f"{name}/logits"].shape, count)
    np.savez_compressed(HERE / "adapters.npz", **recorded)


if __name__ == "__main__":
    main()
