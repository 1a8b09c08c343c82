"""Metrics of token labels, entities and answers."""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def token_accuracy(
    predictions: ArrayLike, labels: ArrayLike, *, ignore: int = -100
) -> float:
    """Share of labelled tokens that are right. ids [N T] or logits [N T C], [N T].

    Raises ValueError if no token has a label.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.ndim == labels.ndim + 1:
        predictions = predictions.argmax(-1)
    if predictions.shape != labels.shape:
        raise ValueError(
            f"predictions have shape {predictions.shape}, labels {labels.shape}"
        )
    known = labels != ignore
    if not known.any():
        raise ValueError("no token has a label")
    return float((predictions == labels)[known].mean())


def bio_spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Entities (type, first, end) of a sentence in B-/I-/O tags; `end` is exclusive.

    As the CoNLL evaluation has it, an I- that continues nothing begins an entity
    (Tjong Kim Sang and De Meulder, 2003). Raises ValueError for another kind of tag.
    """
    spans, kind, first = set(), None, 0
    for position, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if prefix not in ("B", "I", "O") or (prefix == "O") != (not name):
            raise ValueError(
                f"tag {tag!r} at {position} is none of 'O', 'B-<type>', 'I-<type>'"
            )
        if prefix == "I" and name == kind:
            continue
        if kind is not None:
            spans.add((kind, first, position))
        kind, first = name or None, position
    return spans


def entity_f1(
    predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]
) -> float:
    """Micro F1 of whole entities: type and both borders must be right.

    Tags by sentence, as `bio_spans` reads them. 0 where there is no entity at all.
    """
    if len(predictions) != len(labels):
        raise ValueError(f"{len(predictions)} predictions for {len(labels)} sentences")
    hits = total = 0
    for row, (guess, truth) in enumerate(zip(predictions, labels, strict=True)):
        if len(guess) != len(truth):
            raise ValueError(f"sentence {row}: {len(guess)} tags for {len(truth)}")
        found, real = bio_spans(guess), bio_spans(truth)
        hits += len(found & real)
        total += len(found) + len(real)
    return 2 * hits / max(total, 1)


def normalise(answer: str) -> str:
    """Lower case without punctuation or articles (Rajpurkar et al., 2016)."""
    kept = "".join(c for c in answer.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def exact_match(predictions: Sequence[str], answers: Sequence) -> float:
    """Share of predictions that equal an answer once normalised.

    answers: for each prediction a string, or several that are all right.
    """
    return _best(predictions, answers, lambda a, b: float(normalise(a) == normalise(b)))


def token_f1(predictions: Sequence[str], answers: Sequence) -> float:
    """Mean F1 of shared words, the best over an example's answers.

    Arguments as in `exact_match`. Where one side is empty both must be.
    """
    return _best(predictions, answers, _words_f1)


def _words_f1(prediction: str, answer: str) -> float:
    guess, truth = normalise(prediction).split(), normalise(answer).split()
    if not guess or not truth:
        return float(guess == truth)
    shared = sum((Counter(guess) & Counter(truth)).values())
    return 2 * shared / (len(guess) + len(truth))


def _best(predictions: Sequence[str], answers: Sequence, score) -> float:
    """Mean over examples of the best score over an example's answers."""
    if len(predictions) != len(answers) or not len(answers):
        raise ValueError(f"{len(predictions)} predictions for {len(answers)} examples")
    best = []
    for row, (guess, right) in enumerate(zip(predictions, answers, strict=True)):
        right = [right] if isinstance(right, str) else list(right)
        if not right:
            raise ValueError(f"example {row} has no answer; an empty one is ''")
        best.append(max(score(guess, answer) for answer in right))
    return float(np.mean(best))
