"""Features of texts from MiniLM against transformers."""

from experiments.benchmarks import in_torch, minilm, ours, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

NEEDS = ("torch", "transformers")


def with_us(dtype: str) -> Ready:
    """Masked means of the last hidden state."""
    base = minilm.ours(dtype)
    return ours.extraction(base.model, base.params, base.stats, minilm.batch())


def with_transformers(compile: bool, dtype: str) -> Ready:
    """The same of BertModel."""
    module = minilm.theirs().eval()
    tokens, mask = minilm.tensors()

    def features():
        return minilm.pooled(module, tokens, mask)

    return in_torch.extraction(features, compile=compile, dtype=dtype)


ROWS = (
    Row(
        "features",
        "MiniLM, features",
        f"Mean features of {minilm.SIZES}, real weights.",
        ours=pairs.ours(f"{__name__}:with_us", pairs.BOTH),
        peers=pairs.peers(
            "transformers", f"{__name__}:with_transformers", NEEDS, pairs.BOTH
        ),
        examples=minilm.EXAMPLES,
        product=minilm.PRODUCT,
        tried=tried.TRANSFORMERS,
    ),
)
