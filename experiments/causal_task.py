"""The task of causal models that answer: what is learned, written and scored."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.sources import column, columns_of
from experiments.tasks import IGNORED, Task
from experiments.writing_task import end_of, texts_of
from tl_jax import data
from tl_jax.data.chat import question_text
from tl_jax.data.packing import answered, packed
from tl_jax.losses import labelled, next_token_cross_entropy
from tl_jax.metrics import text as scores
from tl_jax.types import Array, Outputs, Pretrained, Stream


def causal(decode: Callable[[Sequence[int]], str], length: int):
    """An answer behind each question; the answer's tokens alone are learned.

    Scored are the answers that the model writes by itself, and how likely it finds the
    right ones, as a perplexity a token. What is read of a row is [2 length]: the tokens
    that were written, then the log probabilities of the right ones.
    """

    def loss(outputs: Outputs, stream: Stream) -> Array:
        return next_token_cross_entropy(outputs.logits, stream["labels"])

    texts = texts_of(decode)

    def written(found: np.ndarray) -> list[str]:
        return texts(found[:, :length].astype(np.int32))

    def exact(found: np.ndarray, labels: np.ndarray) -> float:
        return scores.exact(written(found), texts(labels))

    def perplexity(found: np.ndarray, labels: np.ndarray) -> float:
        logp = found[:, length:]
        return float(np.exp(-logp.sum() / (labels != IGNORED).sum()))

    def read(outputs: Outputs) -> Array:
        ids = outputs.written.astype(jnp.float32)  # exact: they are below 2^24
        return jnp.concatenate([ids, outputs.logits], axis=1)

    return Task(
        "causal",
        "vocabulary",
        lambda classes: None,
        lambda classes, tokens: np.zeros(tokens, np.int32),
        loss,
        lambda stream: stream["weight"] * labelled(stream["labels"][:, 1:]),
        {"exact": exact, "perplexity": perplexity},
        lambda found: found[:, :length].astype(np.int32),
        read=read,
    )


def encode_causal(examples: data.Examples, base: Pretrained, config: ConfigDict):
    """Questions and answers as rows to learn, and questions alone to answer.

    Questions are padded in front, so that answers follow them at once.
    """
    from experiments.inputs import Encoded, buckets_up_to

    own, inputs, tokenizer = config.data, examples.inputs, base.tokenizer
    template = tokenizer.template if own.chat else None
    if own.chat and template is None:
        raise ValueError(
            f"config.data.chat is True, but config.model.spec, {config.model.spec!r}, "
            "has no chat template: expected --config.data.chat=False"
        )
    name = "text" if "target" in inputs else columns_of(config)[0]
    fronts = [question_text(template, t, own.system) for t in column(examples, name)]
    asked, cut = _ids(tokenizer, fronts, own.length, "text", tail=True)
    first = [i for i in tokenizer.encoder.encode("").ids if i == tokenizer.bos]
    asked = [[*first, *row] for row in asked]
    columns = {"asked": _in_front(asked, tokenizer.pad)}
    columns["asked_mask"] = _in_front([[1] * len(row) for row in asked], 0).astype(bool)
    if "target" not in inputs:
        return Encoded(columns, None, cut=cut)
    answers, more = _ids(tokenizer, inputs["target"], own.target_length - 1, "target")
    answers = [[*row, end_of(tokenizer)] for row in answers]
    labels = np.full((len(answers), own.target_length), IGNORED, np.int32)
    for row, answer in zip(labels, answers, strict=True):
        row[: len(answer)] = answer
    columns["answer"] = labels
    most = own.length + own.target_length + len(first)
    buckets = tuple(own.buckets) or buckets_up_to(max(most, own.pack))

    def taught(rows: np.ndarray) -> tuple[dict[str, Any], Any]:
        made = answered(
            [asked[i] for i in rows], [answers[i] for i in rows], pad=tokenizer.pad
        )
        if not own.pack:
            return {"tokens": made[0]}, made[1]
        found = packed(*made, own.pack)
        return {"tokens": found.tokens, "segments": found.segments}, found.labels

    return Encoded(columns, labels, buckets, cut=cut + more, taught=taught)


def _ids(
    tokenizer: Any, texts: Sequence[str], length: int, what: str, *, tail: bool = False
) -> tuple[list[list[int]], int]:
    """Tokens of texts cut to a length, and how many were; `tail` keeps their ends.

    A question's end is where the template hands over to the answer.
    """
    found = tokenizer.encoder.encode_batch(list(texts), add_special_tokens=False)
    rows = [row.ids for row in found]
    for number, row in enumerate(rows):
        if not row:
            raise ValueError(f"row {number}: the {what} has no tokens, expected some")
    kept = slice(-length, None) if tail else slice(length)
    return [row[kept] for row in rows], sum(len(row) > length for row in rows)


def _in_front(rows: Sequence[Sequence[int]], fill: int) -> np.ndarray:
    """Rows [N T], padded in front."""
    longest = max(map(len, rows))
    return np.asarray([[fill] * (longest - len(r)) + list(r) for r in rows], np.int32)
