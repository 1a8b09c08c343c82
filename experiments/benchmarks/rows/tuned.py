"""Steps of MiniLM under DoRA, (IA)3, adapters and prefixes, against PEFT or by hand."""

from typing import Any

from experiments.benchmarks import in_torch, minilm, ours, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

RANK, RATE, LENGTH, REDUCTION = 8, 1e-3, 16, 16
QV = r"blocks/\d+/attention/(query|value)"
NEEDS = ("torch", "transformers", "peft")


def method(name: str) -> Any:
    """The transform of our side."""
    from tl_jax import transfer

    return {
        "dora": lambda: transfer.dora(RANK, QV),
        "ia3": transfer.ia3,
        "houlsby": lambda: transfer.houlsby(REDUCTION),
        "prefix": lambda: transfer.prefix(LENGTH),
    }[name]()


def with_us(name: str, dtype: str) -> Ready:
    """One method, everything else frozen, and a head."""
    import jax

    from tl_jax import optim
    from tl_jax.transfer import chain, freeze, full, rate, set_head

    base = minilm.ours(dtype)
    head = set_head(*minilm.head()), freeze(".*")
    whole = chain(*head, method(name), rate("head/.*", 1.0))
    plan = whole(jax.random.key(0), full(base.params, base.stats))
    return ours.training(base.model, plan, optim.adamw(RATE), minilm.stream())


def with_peft(name: str, compile: bool, dtype: str) -> Ready:
    """The same method by PEFT; adapters by hand in torch, as PEFT has none."""
    body = bottlenecks(minilm.theirs()) if name == "houlsby" else wrapped(name)
    module = minilm.classifier(body).train()
    tokens, mask = minilm.tensors()
    return in_torch.training(
        module,
        lambda: module(tokens, mask),
        minilm.labels(),
        rate=RATE,
        compile=compile,
        dtype=dtype,
    )


def wrapped(name: str) -> Any:
    """PEFT's model."""
    from peft import IA3Config, LoraConfig, PrefixTuningConfig, get_peft_model

    if name == "dora":
        targets = ["query", "value"]
        config = LoraConfig(r=RANK, lora_alpha=8, target_modules=targets, use_dora=True)
    elif name == "ia3":
        down = r".*layer\.\d+\.output\.dense"
        keys = rf".*\.self\.(key|value)|{down}"
        config = IA3Config(target_modules=keys, feedforward_modules=down)
    else:
        kind = "FEATURE_EXTRACTION"
        config = PrefixTuningConfig(num_virtual_tokens=LENGTH, task_type=kind)
    return get_peft_model(minilm.theirs(), config)


def bottlenecks(body: Any) -> Any:
    """Houlsby's adapters behind both dense layers that end a branch."""
    import torch

    class Bottleneck(torch.nn.Module):
        def __init__(self, dense: Any, width: int) -> None:
            super().__init__()
            self.dense = dense
            self.down = torch.nn.Linear(width, width // REDUCTION)
            self.up = torch.nn.Linear(width // REDUCTION, width)
            for layer in (self.down, self.up):
                torch.nn.init.normal_(layer.weight, std=1e-3)
                torch.nn.init.zeros_(layer.bias)

        def forward(self, x: Any) -> Any:
            y = self.dense(x)
            return y + self.up(torch.nn.functional.silu(self.down(y)))

    body.requires_grad_(False)
    for layer in body.encoder.layer:
        for part in (layer.attention.output, layer.output):
            part.dense = Bottleneck(part.dense, minilm.WIDTH)
    return body


def row(name: str, title: str, what: str, who: str, needs: tuple = NEEDS) -> Row:
    """A method's row."""
    return Row(
        name,
        f"MiniLM, {title} step",
        f"One step of AdamW on {what} and a head of {minilm.CLASSES} classes, "
        f"{minilm.SIZES}, real weights.",
        ours=pairs.ours(f"{__name__}:with_us", pairs.BOTH, name=name),
        peers=pairs.peers(who, f"{__name__}:with_peft", needs, pairs.BOTH, name=name),
        examples=minilm.EXAMPLES,
        product=minilm.PRODUCT,
        tried=tried.TRANSFORMERS,
    )


ROWS = (
    row("dora", "DoRA", f"rank-{RANK} DoRA at query and value", "PEFT"),
    row("ia3", "(IA)3", "factors of keys, values and hidden activations", "PEFT"),
    row(
        "houlsby",
        "adapter",
        f"two adapters a block, {minilm.WIDTH // REDUCTION} wide, as Houlsby et al.",
        "torch by hand",
        NEEDS[:2],
    ),
    row("prefix", "prefix", f"prefixes of {LENGTH} keys and values a block", "PEFT"),
)
