"""Tiny data of every kind, and studies of it in this process."""

import json

import numpy as np
from ml_collections import ConfigDict

from configs import finetune
from experiments import launch

WORDS = (("red", "blue", "green"), ("one", "two", "six"), ("sun", "sea", "sky"))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def texts(count: int = 60, seed: int = 0) -> list[tuple[str, int]]:
    """(text, kind): words of one of three kinds, and a number that makes it unique."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        chosen = rng.choice(WORDS[i % 3], 2 + i % 7)
        rows.append((f"{' '.join(chosen)} {i % 46} {i // 46}", i % 3))
    return rows


def table(rows: list[dict], separator: str) -> str:
    """A header and a line a row."""
    lines = [separator.join(rows[0])]
    return "\n".join([*lines, *(separator.join(map(str, r.values())) for r in rows)])


def labelled(kind: str) -> list[dict]:
    """Rows of a data set of that kind."""
    made = texts()
    if kind == "regression":
        return [{"text": t, "label": k - 1 + 0.01 * i} for i, (t, k) in enumerate(made)]
    if kind == "multilabel":
        sets = (["warm", "far"], ["near"], ["far"])
        return [{"text": t, "label": sets[k]} for t, k in made]
    if kind == "tokens":
        tags = {
            w: t for k, t in zip(WORDS, ("B-x", "I-x", "O"), strict=True) for w in k
        }
        return [
            {"tokens": t.split(), "labels": [tags.get(w, "O") for w in t.split()]}
            for t, _ in made
        ]
    if kind == "span":
        return [
            {
                "question": "sun",
                "context": t,
                "answer_start": 0,
                "answer_text": t.split()[0],
            }
            for t, _ in made
        ]
    return [{"text": t, "label": "abc"[k]} for t, k in made]


def write(folder, kind: str, suffix: str):
    """A file (or a folder, `suffix=""`) of labelled rows."""
    rows = labelled(kind)
    if not suffix:
        for i, row in enumerate(rows):
            place = folder / "texts" / row["label"]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{i}.txt").write_text(row["text"])
        return folder / "texts"
    path = folder / f"{kind}{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    else:
        path.write_text(table(rows, {".csv": ",", ".tsv": "\t"}[suffix]) + "\n")
    return path


def small(model, source, arg: str = "", task: str = "classification") -> ConfigDict:
    """The config `finetune` with little of everything."""
    config = finetune.get_config(arg)
    config.task = task
    config.model.spec = str(model)
    config.data.source = str(source)
    config.data.length = 16
    config.data.buckets = (16,)
    config.steps = 4
    config.batch_size = 8
    config.eval_batch_size = 16
    config.every.evaluate = 2
    config.every.log = 2
    config.resamples = 10
    return config


def strategies(config: ConfigDict, **named: dict) -> ConfigDict:
    """The config with these strategies in place of its own, all to be run."""
    config.strategies = ConfigDict(named)
    config.run = ",".join(named)
    return config


def run(config: ConfigDict, workdir):
    """A study in this process; its `study.json`."""
    launch.study(config, workdir, ["test"], lambda: False)
    return json.loads((workdir / "study.json").read_text())


def result(workdir, strategy: str, seed: int = 0) -> dict:
    """What a run wrote."""
    return json.loads((workdir / strategy / str(seed) / "result.json").read_text())
