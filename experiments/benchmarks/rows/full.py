"""Full fine-tuning of MiniLM against transformers."""

from experiments.benchmarks import in_torch, minilm, ours, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

RATE = 2e-5
NEEDS = ("torch", "transformers")


def with_us(dtype: str) -> Ready:
    """All weights and a head."""
    import jax

    from tl_jax import optim
    from tl_jax.transfer import full, set_head

    base = minilm.ours(dtype)
    plan = full(base.params, base.stats)
    plan = set_head(*minilm.head())(jax.random.key(0), plan)
    return ours.training(base.model, plan, optim.adamw(RATE), minilm.stream())


def with_transformers(compile: bool, dtype: str) -> Ready:
    """The same of BertModel."""
    module = minilm.classifier(minilm.theirs()).train()
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
        "full",
        "MiniLM, full step",
        "One step of AdamW on all weights and a head of "
        f"{minilm.CLASSES} classes, {minilm.SIZES}, real weights.",
        ours=pairs.ours(f"{__name__}:with_us", pairs.BOTH),
        peers=pairs.peers(
            "transformers", f"{__name__}:with_transformers", NEEDS, pairs.BOTH
        ),
        examples=minilm.EXAMPLES,
        product=minilm.PRODUCT,
        tried=tried.TRANSFORMERS,
    ),
)
