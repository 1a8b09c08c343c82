"""Record what PEFT's (IA)3 computes on a tiny random BERT.

    python tests/golden/record_ia3.py

Needs torch, transformers and peft. Reads `bert/bert_sequence/`; writes `ia3.npz`: every
factor, the logits, and the factors after one step of SGD of 0.1 on
`logits.square().mean()`, without dropout.
"""

from pathlib import Path

import numpy as np
import peft
import torch
import transformers

HERE = Path(__file__).parent
RATE = 0.1
TARGETS = dict(
    target_modules=r".*\.(key|value)|.*layer\.\d+\.output\.dense",
    feedforward_modules=r".*layer\.\d+\.output\.dense",
)


def make(seed: int = 0) -> peft.PeftModel:
    """The recorded BERT under (IA)3 with random factors."""
    kind = transformers.BertForSequenceClassification
    base = kind.from_pretrained(HERE / "bert" / "bert_sequence")
    model = peft.get_peft_model(base, peft.IA3Config(**TARGETS)).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "ia3_l" in name:
                weight.copy_(1 + 0.3 * torch.randn(weight.shape))
    return model


def reference(model: peft.PeftModel, inputs: dict) -> dict[str, np.ndarray]:
    """Factors [I] or [O] by name, logits, and factors after a step."""
    names = {"tokens": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}
    given = {names[k]: torch.tensor(np.asarray(v)).long() for k, v in inputs.items()}
    moving = {n: w for n, w in model.named_parameters() if w.requires_grad}
    logits = model(**given).logits
    grads = torch.autograd.grad(logits.square().mean(), list(moving.values()))
    found = {"logits": logits.detach().numpy()}
    for (name, weight), grad in zip(moving.items(), grads, strict=True):
        found[f"before/{name}"] = weight.detach().numpy().ravel()
        found[f"after/{name}"] = (weight - RATE * grad).detach().numpy().ravel()
    return found


def main() -> None:
    with np.load(HERE / "bert.npz") as file:
        known = ("tokens", "mask", "types")
        inputs = {name: file[f"bert_sequence/{name}"] for name in known}
    np.savez_compressed(HERE / "ia3.npz", **inputs | reference(make(), inputs))


if __name__ == "__main__":
    main()
