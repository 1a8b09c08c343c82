"""What a task means: its loss, its head, its metrics."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from tl_jax.losses import (
    binary_cross_entropy,
    cross_entropy,
    labelled,
    span_cross_entropy,
    squared_error,
    token_cross_entropy,
)
from tl_jax.metrics import episodic, sequence
from tl_jax.metrics import task as scores
from tl_jax.tree import no_match
from tl_jax.types import Array, Outputs, Stream

Scores = dict[str, float]


class Task(NamedTuple):
    """One kind of supervised problem."""

    name: str
    over: str
    """What the head reads: `sequence` features, `tokens`, or `vocabulary` of words."""
    outputs: Callable[[int], int | None]
    """Number of classes -> width of a new head; None where the model's own is read."""
    labels: Callable[[int, int], np.ndarray]
    """(classes, tokens) -> an example's labels, as a dry run needs them."""
    loss: Callable[[Outputs, Stream], Array]
    """[B], differentiable."""
    weigh: Callable[[Stream], Array]
    """[B] of the examples in that loss."""
    metrics: Mapping[str, Callable[[np.ndarray, np.ndarray], float]]
    """Of logits [N ...] and labels [N ...]; the first is the headline."""
    decide: Callable[[np.ndarray], np.ndarray]
    """Logits -> what is predicted."""
    mode: str = "max"
    """Whether more of the headline metric is better."""
    asked: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda inputs: inputs
    """What of a row's inputs a prediction may see."""
    read: Callable[[Outputs], Any] = lambda outputs: outputs.logits
    """What of the outputs is scored: the "logits" of metrics and `decide`."""


def classification(classes: int, smoothing: float, weights: Array | None) -> Task:
    """One class an example; `weights` [C] weigh the examples of a class."""

    def loss(outputs: Outputs, stream: Stream) -> Array:
        labels = stream["labels"]
        return cross_entropy(outputs.logits, labels, smoothing=smoothing)

    def weigh(stream: Stream) -> Array:
        own, labels = stream["weight"], stream["labels"]
        if weights is None:
            return own
        if labels.ndim == 2:  # shares of classes: examples were mixed
            return own * (labels * weights).sum(-1)
        return own * weights[labels]

    return Task(
        "classification",
        "sequence",
        lambda classes: classes,
        lambda classes, tokens: np.zeros((), np.int32),
        loss,
        weigh,
        {
            "accuracy": scores.accuracy,
            "macro_f1": lambda p, y: scores.macro_f1(p, y, classes=classes),
            "loss": scores.negative_log_likelihood,
        },
        lambda logits: logits.argmax(-1),
    )


def regression() -> Task:
    """One number an example."""
    return Task(
        "regression",
        "sequence",
        lambda classes: 1,
        lambda classes, tokens: np.zeros((), np.float32),
        lambda outputs, stream: squared_error(outputs.logits, stream["labels"]),
        lambda stream: stream["weight"],
        {
            "pearson": lambda p, y: scores.pearson(p[:, 0], y),
            "mae": lambda p, y: scores.mae(p[:, 0], y),
            "r2": lambda p, y: scores.r2(p[:, 0], y),
            "loss": lambda p, y: scores.mse(p[:, 0], y),
        },
        lambda logits: logits[:, 0],
    )


def multilabel() -> Task:
    """Any number of classes an example."""

    def loss(logits: np.ndarray, labels: np.ndarray) -> float:
        return float(np.mean(binary_cross_entropy(jnp.asarray(logits), labels)))

    return Task(
        "multilabel",
        "sequence",
        lambda classes: classes,
        lambda classes, tokens: np.zeros(classes, np.float32),
        lambda out, stream: binary_cross_entropy(out.logits, stream["labels"]),
        lambda stream: stream["weight"],
        {
            "micro_f1": lambda p, y: scores.multilabel_f1(p > 0, y, average="micro"),
            "macro_f1": lambda p, y: scores.multilabel_f1(p > 0, y, average="macro"),
            "accuracy": lambda p, y: scores.subset_accuracy(p > 0, y),
            "loss": loss,
        },
        lambda logits: logits > 0,
    )


def tokens(classes: tuple[str, ...]) -> Task:
    """One class a word; entities are scored if the classes are BIO tags."""
    table = {"accuracy": sequence.token_accuracy}
    if "O" in classes:

        def entities(logits: np.ndarray, labels: np.ndarray) -> float:
            guess, shown = logits.argmax(-1), labels != -100
            rows = list(zip(guess, labels, shown, strict=True))
            names = np.asarray(classes)
            return sequence.entity_f1(
                [list(names[g[s]]) for g, _, s in rows],
                [list(names[y[s]]) for _, y, s in rows],
            )

        table = {"entity_f1": entities} | table

    def loss(logits: np.ndarray, labels: np.ndarray) -> float:
        shown = labels != -100
        return scores.negative_log_likelihood(logits[shown], labels[shown])

    return Task(
        "tokens",
        "tokens",
        lambda classes: classes,
        lambda classes, tokens: np.zeros(tokens, np.int32),
        lambda out, stream: token_cross_entropy(out.logits, stream["labels"]),
        lambda stream: stream["weight"] * labelled(stream["labels"]),
        table | {"loss": loss},
        lambda logits: logits.argmax(-1),
    )


def span() -> Task:
    """The first and last token of the answer in a context."""

    def loss(outputs: Outputs, stream: Stream) -> Array:
        mask = stream["inputs"]["mask"]
        return span_cross_entropy(outputs.logits, stream["labels"], mask)

    def best(logits: np.ndarray) -> np.ndarray:
        """argmax of first[i] + last[j] over i <= j, in one sweep over j."""
        first, last = logits[..., 0], logits[..., 1]
        so_far = np.maximum.accumulate(first, axis=1)
        end = (so_far + last).argmax(-1)[:, None]
        start = (first == np.take_along_axis(so_far, end, 1)).argmax(-1)
        return np.stack([start, end[:, 0]], -1)

    def exact(logits: np.ndarray, labels: np.ndarray) -> float:
        return float((best(logits) == labels).all(-1).mean())

    def overlap(logits: np.ndarray, labels: np.ndarray) -> float:
        guess = best(logits)
        shared = np.minimum(guess[:, 1], labels[:, 1]) + 1
        shared = np.maximum(shared - np.maximum(guess[:, 0], labels[:, 0]), 0)
        both = (guess[:, 1] - guess[:, 0]) + (labels[:, 1] - labels[:, 0]) + 2
        return float((2 * shared / both).mean())

    return Task(
        "span",
        "tokens",
        lambda classes: 2,
        lambda classes, tokens: np.zeros(2, np.int32),
        loss,
        lambda stream: stream["weight"],
        {"exact_match": exact, "token_f1": overlap},
        best,
    )


def fewshot() -> Task:
    """One class a query, of those of its episode; scores are means over episodes."""

    return Task(
        "fewshot",
        "sequence",
        lambda classes: classes,
        lambda classes, tokens: np.zeros((), np.int32),
        lambda out, stream: cross_entropy(out.logits, stream["labels"]),
        lambda stream: stream["weight"],
        {"accuracy": episodic.mean_accuracy, "loss": episodic.mean_loss},
        lambda logits: logits.argmax(-1),
    )


def fewshot_regression() -> Task:
    """One number a query; errors of episodes, and how many of these diverged."""
    return Task(
        "fewshot_regression",
        "sequence",
        lambda classes: 1,
        lambda classes, tokens: np.zeros(1, np.float32),
        lambda out, stream: jnp.square(out.logits - stream["labels"]).sum(-1),
        lambda stream: stream["weight"],
        {
            "median_mse": lambda p, y: float(np.median(episodic.errors(p, y))),
            "mse": lambda p, y: float(np.mean(episodic.errors(p, y))),
            "diverged": lambda p, y: float(episodic.diverged(p, y).sum()),
        },
        lambda logits: logits,
        "min",
    )


IGNORED = -100
"""The label of what nobody scores."""
EPISODIC = ("fewshot", "fewshot_regression")
TEXTS = ("seq2seq", "causal")
"""Tasks of models that write."""
TASKS = (
    *("classification", "regression", "multilabel", "tokens", "span"),
    *EPISODIC,
    *TEXTS,
)


def make_task(
    name: str,
    classes: tuple[str, ...],
    *,
    smoothing: float = 0.0,
    class_weights: str = "none",
    labels: Any = None,
    tokenizer: Any = None,
    length: int = 0,
) -> Task:
    """The task of that name; `class_weights="balanced"` reads the training labels.

    Balanced weights are N / (C count of the class). Tasks of `TEXTS` need the
    `tokenizer` and the `length` of answers. Raises for an unknown name.
    """
    if name not in TASKS:
        raise no_match("task", name, TASKS)
    if class_weights not in ("none", "balanced"):
        raise no_match("class_weights", class_weights, ("none", "balanced"))
    if name == "classification":
        weights = None
        if class_weights == "balanced":
            counts = np.bincount(np.asarray(labels), minlength=len(classes))
            weights = len(labels) / (len(classes) * np.maximum(counts, 1))
            weights = jnp.asarray(weights, jnp.float32)
        return classification(len(classes), smoothing, weights)
    if name == "causal" and not smoothing and class_weights == "none":
        from experiments.causal_task import causal
        from experiments.writing_task import until_end

        return causal(until_end(tokenizer), length)
    if name == "seq2seq" and class_weights == "none":
        from experiments.writing_task import seq2seq, until_end

        return seq2seq(until_end(tokenizer), length, smoothing)
    if smoothing or class_weights != "none":
        raise ValueError(
            f"task {name!r} takes no smoothing ({smoothing}) and no class_weights "
            f"({class_weights!r}): they belong to classification"
        )
    makers = {
        "regression": regression,
        "multilabel": multilabel,
        "span": span,
        "fewshot": fewshot,
        "fewshot_regression": fewshot_regression,
    }
    return tokens(classes) if name == "tokens" else makers[name]()
