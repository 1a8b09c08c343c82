"""A LoRA step of MiniLM against PEFT."""

from experiments.benchmarks import in_torch, minilm, ours, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

RANK, RATE = 8, 1e-3
NEEDS = ("torch", "transformers", "peft")


def with_us(dtype: str) -> Ready:
    """lora(rank=8) on query and value, everything else frozen, and a head."""
    import jax

    from tl_jax import optim
    from tl_jax.transfer import chain, freeze, full, lora, rate, set_head

    base = minilm.ours(dtype)
    where = r"blocks/\d+/attention/(query|value)"
    method = chain(
        set_head(*minilm.head()), freeze(".*"), lora(RANK, where), rate("head/.*", 1.0)
    )
    plan = method(jax.random.key(0), full(base.params, base.stats))
    return ours.training(base.model, plan, optim.adamw(RATE), minilm.stream())


def with_peft(compile: bool, dtype: str) -> Ready:
    """LoraConfig of the same rank, targets and scale."""
    from peft import LoraConfig, get_peft_model

    targets = ["query", "value"]
    config = LoraConfig(r=RANK, lora_alpha=8, lora_dropout=0.0, target_modules=targets)
    module = minilm.classifier(get_peft_model(minilm.theirs(), config)).train()
    tokens, mask = minilm.tensors()
    return in_torch.training(
        module,
        lambda: module(tokens, mask),
        minilm.labels(),
        rate=RATE,
        compile=compile,
        dtype=dtype,
    )


ROWS = (
    Row(
        "lora",
        "MiniLM, LoRA step",
        f"One step of AdamW on rank-{RANK} LoRA at query and value of all six blocks "
        f"and a head of {minilm.CLASSES} classes, {minilm.SIZES}, real weights.",
        ours=pairs.ours(f"{__name__}:with_us", pairs.BOTH),
        peers=pairs.peers("PEFT", f"{__name__}:with_peft", NEEDS, pairs.BOTH),
        examples=minilm.EXAMPLES,
        product=minilm.PRODUCT,
        tried=(*tried.TRANSFORMERS, *tried.LORA),
    ),
)
