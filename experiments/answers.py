"""From logits to answers that people read: labels, numbers, tags, spans of text."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.problem import Problem
from experiments.tasks import TEXTS
from experiments.writing_task import texts_of, until_end

Row = dict[str, Any]
WRITES = (".jsonl", ".csv")


def rows(problem: Problem, logits: np.ndarray) -> list[Row]:
    """An answer an example, in the order of the examples."""
    made: dict[str, Callable[[Problem, np.ndarray], list[Row]]] = {
        "classification": _classes,
        "fewshot": _classes,
        "regression": _numbers,
        "multilabel": _labels,
        "tokens": _tags,
        "span": _spans,
        "seq2seq": _written,
        "causal": _written,
    }
    if problem.task.name not in TEXTS:
        logits = np.asarray(logits, np.float64)
    found = made[problem.task.name](problem, logits)
    inputs = problem.examples.inputs
    names = inputs.get("file") if "image" in inputs else None
    files = [{}] * len(found) if names is None else [{"file": n} for n in names]
    return [
        {"row": number} | file | row
        for number, (file, row) in enumerate(zip(files, found, strict=True))
    ]


def _classes(problem: Problem, logits: np.ndarray) -> list[Row]:
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    odds /= odds.sum(-1, keepdims=True)
    return [
        {
            "label": problem.classes[choice],
            "probability": float(odd[choice]),
            "probabilities": dict(zip(problem.classes, odd.tolist(), strict=True)),
        }
        for choice, odd in zip(problem.task.decide(logits), odds, strict=True)
    ]


def _numbers(problem: Problem, logits: np.ndarray) -> list[Row]:
    return [{"number": float(value)} for value in problem.task.decide(logits)]


def _labels(problem: Problem, logits: np.ndarray) -> list[Row]:
    names = np.asarray(problem.classes)
    odds = 0.5 * (1 + np.tanh(logits / 2))  # the sigmoid, without overflow
    return [
        {
            "labels": names[chosen].tolist(),
            "probabilities": dict(zip(problem.classes, odd.tolist(), strict=True)),
        }
        for chosen, odd in zip(problem.task.decide(logits), odds, strict=True)
    ]


def _tags(problem: Problem, logits: np.ndarray) -> list[Row]:
    """A tag a word, None for words beyond the model's length."""
    found, pieces = problem.task.decide(logits), problem.encoded.labels
    answers = []
    for number, words in enumerate(problem.examples.inputs["words"]):
        start, stop = pieces.offsets[number], pieces.offsets[number + 1]
        places = pieces.flat[start:stop]
        tags: list[str | None] = [None] * len(words)
        for at in np.flatnonzero(places >= 0):
            tags[places[at]] = problem.classes[found[number, at]]
        answers.append({"tokens": words, "tags": tags})
    return answers


def _spans(problem: Problem, logits: np.ndarray) -> list[Row]:
    """The characters of the answer; an empty text where it is outside the context."""
    places, answers = problem.encoded.places, []
    contexts = problem.examples.inputs["context"]
    for number, (first, last) in enumerate(problem.task.decide(logits)):
        own = places.flat[places.offsets[number] : places.offsets[number + 1]]
        start, end = int(own[first][0]), int(own[last][1])
        inside = 0 <= start <= end
        text = contexts[number][start:end] if inside else ""
        answers.append(
            {"answer": text, "start": start, "end": end}
            if inside
            else {"answer": "", "start": None, "end": None}
        )
    return answers


def _written(problem: Problem, tokens: np.ndarray) -> list[Row]:
    """What the model wrote for each text."""
    own = problem.task.decide(tokens)
    texts = texts_of(until_end(problem.base.tokenizer))(own)
    return [{"written": text} for text in texts]


def check_output(path: Path) -> None:
    """Raise ValueError or NotADirectoryError for a file that can't be written."""
    if path.suffix not in WRITES:
        raise ValueError(
            f"--output {path}: the ending {path.suffix!r} is none of {WRITES}"
        )
    if not path.absolute().parent.is_dir():
        raise NotADirectoryError(f"--output {path}: there is no folder {path.parent}")


def write_rows(path: Path, found: list[Row]) -> None:
    """JSON lines or CSV, whole or not at all."""
    from tl_jax.checkpoint import write_atomic

    if path.suffix == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) for row in found)
        write_atomic(path, "\n".join(lines) + "\n")
        return
    file = io.StringIO()
    flat = [_flat(row) for row in found]
    writer = csv.DictWriter(file, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_atomic(path, file.getvalue())


def _flat(row: Row) -> Row:
    """Probabilities as columns `p(class)`, lists as texts with spaces."""
    odds = row.get("probabilities", {})
    plain = {
        name: " ".join("-" if v is None else v for v in value)
        if isinstance(value, list)
        else value
        for name, value in row.items()
        if name != "probabilities"
    }
    return plain | {f"p({name})": value for name, value in odds.items()}


def print_rows(found: list[Row], title: str) -> None:
    """A table on the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=None, pad_edge=False)
    flat = [_flat(row) for row in found]
    for name in flat[0]:
        table.add_column(escape(name), overflow="fold")
    for row in flat:
        table.add_row(*(escape(_short(value)) for value in row.values()))
    Console().print(table)


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
