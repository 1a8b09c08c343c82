"""Record what PEFT's low-rank methods compute on a tiny BERT and on a convolution.

    python tests/golden/record_peft_low_rank.py

Needs torch, transformers and peft. Writes `peft_low_rank.npz`, by `<case>/<what>`:
`start/`, `before/` and `after/` one step of SGD, each `<path>` in our layout; `count`,
the trainable parameters; `logits`, or of a convolution `y`. `adalora/steps/` holds the
singular values of a run that prunes, `adalora/penalty` PEFT's penalty.
"""

import zlib
from pathlib import Path

import numpy as np
import peft.tuners.loha.layer
import torch
import transformers
from peft import (
    AdaLoraConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    VeraConfig,
    get_peft_model,
)

HERE = Path(__file__).parent
QV, RATE = ["query", "value"], 0.1
ADALORA = dict(init_r=3, target_r=1, total_step=10, tinit=2, tfinal=3, deltaT=2)
LORA = dict(r=2, lora_alpha=3, target_modules=QV)
CASES = {
    "lora": LoraConfig(**LORA),
    "rslora": LoraConfig(**LORA, use_rslora=True),
    "dora": LoraConfig(**LORA, use_dora=True),
    "pissa": LoraConfig(**LORA, init_lora_weights="pissa"),
    "olora": LoraConfig(**LORA, init_lora_weights="olora"),
    "words": LoraConfig(r=2, lora_alpha=3, target_modules=["word_embeddings"]),
    "adalora": AdaLoraConfig(**ADALORA, lora_alpha=3, target_modules=QV),
    "vera": VeraConfig(r=5, target_modules=[*QV, "intermediate.dense"]),
    "loha": LoHaConfig(r=2, alpha=3, target_modules=QV),
    "lokr": LoKrConfig(r=1, alpha=3, target_modules=QV),
    "lokr_both": LoKrConfig(r=1, alpha=3, target_modules=QV, decompose_both=True),
    "lokr_whole": LoKrConfig(r=4, alpha=3, target_modules=["intermediate.dense"]),
}
CONV = dict(target_modules=["conv"])
CONVOLUTIONS = {
    "conv_lora": LoraConfig(r=2, lora_alpha=3, **CONV),
    "conv_dora": LoraConfig(r=2, lora_alpha=3, use_dora=True, **CONV),
    "conv_loha": LoHaConfig(r=2, alpha=3, **CONV),
    "conv_loha_cores": LoHaConfig(r=2, alpha=3, use_effective_conv2d=True, **CONV),
    "conv_lokr": LoKrConfig(r=1, alpha=3, **CONV),
    "conv_lokr_cores": LoKrConfig(r=1, alpha=3, use_effective_conv2d=True, **CONV),
}
SITES = {
    "encoder.layer.": "blocks/",
    "attention.self.": "attention.",
    "intermediate.dense": "mlp.up",
    "embeddings.word_embeddings": "embed.tokens",
}
FIELDS = {
    "lora_A": "a",
    "lora_B": "b",
    "lora_embedding_A": "a",
    "lora_embedding_B": "b",
    "lora_magnitude_vector": "magnitude",
    "lora_E": "e",
    "vera_lambda_d": "d",
    "vera_lambda_b": "b",
    "vera_A": "a",
    "vera_B": "b",
    "hada_w1_b": "first/0",
    "hada_w1_a": "first/-1",
    "hada_w2_b": "second/0",
    "hada_w2_a": "second/-1",
    "hada_t1": "first/1",
    "hada_t2": "second/1",
    "lokr_w1": "outer/0",
    "lokr_w1_b": "outer/0",
    "lokr_w1_a": "outer/-1",
    "lokr_w2": "inner/0",
    "lokr_w2_b": "inner/0",
    "lokr_w2_a": "inner/-1",
    "lokr_t2": "inner/1",
}
"""PEFT's names -> fields; -1 is the last of two factors, or of three with a core."""
SVD = {"lora_A": "p", "lora_B": "q"}


def path_of(name: str, case: str) -> tuple[str, str]:
    """A parameter's path here, and its name in PEFT."""
    name = name.removeprefix("base_model.model.").removeprefix("base_model.")
    name = name.removeprefix("bert.").removesuffix(".weight").removesuffix(".default")
    *site, own = name.split(".")
    at = ".".join(site)
    for theirs, here in SITES.items():
        at = at.replace(theirs, here)
    field = (SVD if case == "adalora" else {}).get(own) or FIELDS[own]
    field = field.replace("-1", "2" if case.endswith("cores") else "1")
    return "/".join(filter(None, [*at.split("."), field])), own


def layout(own: str, x: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """PEFT's tensor as an array of ours; `size` of a convolution's window."""
    if own in ("lora_magnitude_vector", "lora_E") or x.ndim == 1:
        return x.reshape(-1)
    if x.ndim == 4 and own == "lora_B":
        return x[:, :, 0, 0].T
    if x.ndim == 4:
        return x.transpose(2, 3, 1, 0)
    flat = own in ("hada_w1_b", "hada_w2_b", "lokr_w2_b")
    if size and flat:
        return x.reshape(len(x), -1, *size).transpose(2, 3, 1, 0)
    return x.T


def arrays(model, case: str, size=None, cores: bool = False) -> dict[str, np.ndarray]:
    """The adapter's parameters and VeRA's matrices, in our layout."""
    named = dict(model.named_parameters())
    buffers = model.named_buffers(remove_duplicate=False)
    named |= {n: b for n, b in buffers if n.startswith("base_model.vera")}
    found = {}
    for name, tensor in named.items():
        if any(f".{field}." in name for field in FIELDS):
            path, own = path_of(name, case)
            x = tensor.detach().numpy().copy()
            turned = cores and own in ("hada_w1_a", "hada_w2_a", "lokr_w2_a")
            window = None if cores else size
            found[path] = x if turned else layout(own, x, window)
    return found


def perturb(model) -> None:
    """Values that no initialiser makes, drawn by name."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.requires_grad:
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                drawn = rng.standard_normal(tuple(tensor.shape), np.float32)
                tensor += 0.2 * torch.tensor(drawn)


def step(model, loss) -> None:
    """One step of plain SGD."""
    moving = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(moving, lr=RATE)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def bert(config):
    """The tiny BERT of `bert/bert_sequence` with an adapter."""
    folder = HERE / "bert" / "bert_sequence"
    own = transformers.BertForSequenceClassification.from_pretrained(folder)
    torch.manual_seed(0)
    return get_peft_model(own, config).eval()


def inputs() -> dict[str, np.ndarray]:
    """Those of `record_bert`."""
    with np.load(HERE / "bert.npz") as file:
        names = ("tokens", "mask", "types")
        return {name: file[f"bert_sequence/{name}"] for name in names}


def logits_of(model) -> torch.Tensor:
    own = {name: torch.tensor(x).long() for name, x in inputs().items()}
    names = {"tokens": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}
    return model(**{theirs: own[name] for name, theirs in names.items()}).logits


def weights_for(shape: tuple[int, ...]) -> np.ndarray:
    """The loss is the sum of what comes out, times these."""
    return np.random.default_rng(5).standard_normal(shape, np.float32)


def run(model, forward, out: str, **how) -> dict[str, np.ndarray]:
    """A case's arrays: at the start, perturbed, after a step; and what comes out."""
    found = {f"start/{p}": x for p, x in arrays(model, **how).items()}
    moving = [p.numel() for p in model.parameters() if p.requires_grad]
    found["count"] = np.array(sum(moving))
    perturb(model)
    found |= {f"before/{p}": x for p, x in arrays(model, **how).items()}
    y = forward(model)
    found[out] = y.detach().numpy()
    step(model, (y * torch.tensor(weights_for(tuple(y.shape)))).sum())
    return found | {f"after/{p}": x for p, x in arrays(model, **how).items()}


def transformer(case: str) -> dict[str, np.ndarray]:
    return run(bert(CASES[case]), logits_of, "logits", case=case)


class Net(torch.nn.Module):
    """One convolution of stride 2."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv2d(4, 6, (3, 3), stride=2, padding=1)

    def forward(self, x):
        return self.conv(x)


def image() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((2, 7, 8, 4), np.float32)


def cores_product(t1, w1a, w1b, t2, w2a, w2b, scale):
    """LoHa's kernel with torch's own derivative.

    PEFT 0.21.2 has one by hand, after LyCORIS, in which the gradients of w1a and w2a
    take the other factor's core: `temp` there is t2 w2b where t1 w1b is meant.
    """
    rule = "i j k l, j r, i p -> p r k l"
    return torch.einsum(rule, t1, w1b, w1a) * torch.einsum(rule, t2, w2b, w2a) * scale


def convolution(case: str) -> dict[str, np.ndarray]:
    """Images [B H W C] and kernels [h w I O], as they are here."""
    net = Net()
    base = {
        "kernel": net.conv.weight.detach().numpy().transpose(2, 3, 1, 0).copy(),
        "bias": net.conv.bias.detach().numpy().copy(),
    }
    torch.manual_seed(0)
    model = get_peft_model(net, CONVOLUTIONS[case]).eval()
    x = torch.tensor(image().transpose(0, 3, 1, 2).copy())
    peft.tuners.loha.layer.make_weight_cp = cores_product
    how = dict(case=case, size=(3, 3), cores=case.endswith("cores"))
    return base | run(model, lambda m: m(x).permute(0, 2, 3, 1), "y", **how)


def pruning() -> dict[str, np.ndarray]:
    """Singular values after each of 12 steps with PEFT's rank allocator."""
    model = bert(CASES["adalora"])
    perturb(model)
    found = {f"pruning/{p}": x for p, x in arrays(model, "adalora").items()}
    rows: dict[str, list] = {}
    for i in range(12):
        for p in model.parameters():
            p.grad = None
        y = logits_of(model)
        step(model, (y * torch.tensor(weights_for(tuple(y.shape)))).sum())
        model.base_model.update_and_allocate(i)
        for path, x in arrays(model, "adalora").items():
            if path.endswith("/e"):
                rows.setdefault(path, []).append(x)
    return found | {f"steps/{p}": np.stack(x) for p, x in rows.items()}


def penalty() -> np.ndarray:
    """What PEFT adds to the loss with a weight of 1: by models of a task alone."""
    losses = []
    for weight in (0.0, 1.0):
        config = AdaLoraConfig(
            **ADALORA, target_modules=QV, orth_reg_weight=weight, lora_alpha=3
        )
        model = bert(config)
        perturb(model)
        ids = torch.tensor(inputs()["tokens"]).long()
        labels = torch.zeros(len(ids)).long()
        losses.append(model.base_model(input_ids=ids, labels=labels).loss.item())
    return np.array(losses[1] - losses[0])


def recorded() -> dict[str, np.ndarray]:
    """Everything, by `<case>/<what>`."""
    found = {}
    for case in CASES:
        found |= {f"{case}/{k}": v for k, v in transformer(case).items()}
    for case in CONVOLUTIONS:
        found |= {f"{case}/{k}": v for k, v in convolution(case).items()}
    found |= {f"adalora/{k}": v for k, v in pruning().items()}
    return found | {"adalora/penalty": penalty()}


if __name__ == "__main__":
    np.savez_compressed(HERE / "peft_low_rank.npz", **recorded())
