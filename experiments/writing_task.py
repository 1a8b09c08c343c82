"""The task of texts that answer texts: what is learned, written and scored."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from experiments.tasks import IGNORED, Task
from tl_jax.losses import labelled, token_cross_entropy
from tl_jax.metrics import text as scores
from tl_jax.types import Array, Outputs, Stream

ANSWER = ("decoder_tokens", "decoder_mask")
"""Inputs that a prediction must not see."""


def seq2seq(decode: Callable[[Sequence[int]], str], length: int, smoothing: float):
    """A text for each text, by teacher forcing; scored as it is written by itself.

    `decode(ids)` gives the text of tokens, `length` is that of answers. What is scored
    are texts that the model wrote, never its guesses at a known answer's next word.
    """

    def loss(outputs: Outputs, stream: Stream) -> Array:
        labels = stream["labels"]
        return token_cross_entropy(outputs.logits, labels, smoothing=smoothing)

    texts = texts_of(decode)

    def scored(metric: Callable[..., float], *more: Any) -> Callable[..., float]:
        return lambda found, labels: metric(texts(found), texts(labels), *more)

    return Task(
        "seq2seq",
        "vocabulary",
        lambda classes: None,
        lambda classes, tokens: np.zeros(length, np.int32),
        loss,
        lambda stream: stream["weight"] * labelled(stream["labels"]),
        {
            "rougeL": scored(scores.rouge, "rougeL"),
            "rouge1": scored(scores.rouge, "rouge1"),
            "rouge2": scored(scores.rouge, "rouge2"),
            "bleu": scored(scores.bleu),
            "exact": scored(scores.exact),
        },
        lambda written: written,
        asked=lambda inputs: {n: x for n, x in inputs.items() if n not in ANSWER},
        read=lambda outputs: outputs.written,
    )


def texts_of(
    decode: Callable[[Sequence[int]], str],
) -> Callable[[np.ndarray], list[str]]:
    """(ids [N T]) -> texts; places without a label are left out.

    Each row is decoded once: a bootstrap asks for the same ones again and again.
    """

    @lru_cache(maxsize=1 << 16)
    def one(row: bytes) -> str:
        ids = np.frombuffer(row, np.int32)
        return decode(ids[ids != IGNORED].tolist())

    def texts(rows: np.ndarray) -> list[str]:
        return [one(np.ascontiguousarray(row, np.int32).tobytes()) for row in rows]

    return texts


def until_end(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    """The text of ids up to the first end, special tokens left out."""

    def decode(ids: Sequence[int]) -> str:
        ids, end = list(ids), end_of(tokenizer)
        ids = ids[: ids.index(end)] if end in ids else ids
        return tokenizer.encoder.decode(ids, skip_special_tokens=True)

    return decode


def end_of(tokenizer: Any) -> int:
    """The token that ends a text; raises ValueError for a tokenizer without one."""
    for found in (tokenizer.eos, tokenizer.sep):
        if found is not None:
            return found
    raise ValueError(
        "the tokenizer has no token that ends a text (eos_token or </s>), which "
        "task 'seq2seq' needs"
    )
