"""A study's workdir as a train loop leaves it, made up from a seed."""

import json
import math
from pathlib import Path

import numpy as np

from experiments.records import Records

CLASSES = ["business", "entertainment", "politics", "sport", "tech"]
STRATEGIES = {
    # name: title, note, accuracy, speed, trainable, seconds
    "from_scratch": ("From scratch", "same net, random", 0.78, 0.010, 22_713_221, 214),
    "linear_probe": ("Linear probe", "head only", 0.86, 0.05, 1_925, 12.5),
    "bitfit": ("BitFit", "biases and head", 0.885, 0.03, 28_805, 151),
    "lora": ("LoRA, rank 8", "queries and values", 0.915, 0.035, 75_653, 122),
    "full": ("Full fine-tuning", "everything", 0.91, 0.04, 22_713_221, 205),
}
PLAN = """site                          shape       rate  patches
embed/token                   30522x384      0
blocks/0/attention/query      384x384        0  lora (8)
blocks/0/attention/value      384x384        0  lora (8)
head                          384x5          1
"""
TOTAL = 22_713_221


def study_json(**changes) -> dict:
    """What a study writes when it starts."""
    info = {
        "name": "BBC news topics",
        "command": ["python", "-m", "experiments.main", "--config", "configs/bbc.py"],
        "config": {"steps": 200, "optimizer": {"name": "adamw", "rate": 1e-3}},
        "versions": {"jax": "0.10.2", "numpy": "2.4.0"},
        "machine": "2 cores, x86_64, 8 GB",
        "started": "2026-01-05T10:00:00+00:00",
        "classes": CLASSES,
        "task": "classification",
        "reference": "from_scratch",
        "metric": "accuracy",
        "strategies": {n: {"title": s[0], "note": s[1]} for n, s in STRATEGIES.items()},
        "seeds": [0, 1, 2],
        "data": {
            "name": "BBC news",
            "licence": "MIT",
            "train": 1424,
            "validation": 356,
            "test": 445,
        },
        "opened_target_labels": False,
    }
    return info | changes


def make_study(root: Path, skip=(), rows: int = 445, steps: int = 200, **changes):
    """Write a study under `root`, without the `(strategy, seed)` pairs in `skip`."""
    info = study_json(**changes)
    root.mkdir(parents=True, exist_ok=True)
    (root / "study.json").write_text(json.dumps(info))
    for i, name in enumerate(info["strategies"]):
        for seed in info["seeds"]:
            if (name, seed) not in skip:
                make_run(root / name / str(seed), name, seed, i, info, rows, steps)
    return root


def make_run(path, name, seed, i, info, rows, steps) -> None:
    """One finished run."""
    rng = np.random.default_rng([seed, i])
    _, _, accuracy, speed, trainable, seconds = STRATEGIES.get(
        name, ("", "", 0.8, 0.02, 1_000 * (i + 1), 10.0)
    )
    path.mkdir(parents=True)
    classes = len(info["classes"])
    labels = np.random.default_rng(0).integers(classes, size=rows)
    right = rng.random(rows) < accuracy + rng.normal() * 0.006
    near = (labels + rng.choice([1, 1, 1, 2, 3], size=rows)) % classes
    predictions = np.where(right, labels, near)
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, predictions), 1)
    curve(path / "records.jsonl", rng, accuracy, speed, classes, steps)
    (path / "plan.txt").write_text(PLAN)
    np.savez(
        path / "predictions.npz",
        index=np.arange(rows),
        labels=labels,
        predictions=predictions,
    )
    scored = float((labels == predictions).mean())
    half = 1.96 * math.sqrt(scored * (1 - scored) / rows)
    f1 = 2 * np.diag(confusion) / np.maximum(confusion.sum(0) + confusion.sum(1), 1)
    test = {"accuracy": scored, "macro_f1": float(f1.mean()), "loss": 1.1 - scored}
    intervals = {"accuracy": [scored - half, scored + half]}
    result = {
        "strategy": name,
        "seed": seed,
        "steps": steps,
        "best_step": steps - 20,
        "test": test | {"intervals": intervals},
        "validation": {"accuracy": scored + 0.01, "loss": 1.05 - scored},
        "trainable": trainable,
        "total": max(TOTAL, trainable),
        "seconds": seconds * (1 + 0.05 * rng.random()),
        "compile_seconds": 5.1,
        "peak_memory_mb": round(700 + 700 * math.sqrt(trainable / TOTAL)),
        "step_seconds": None if name == "linear_probe" else seconds / 400,
        "saved_mb": 4 * trainable / 1e6,
        "confusion": confusion.tolist(),
        "programs": 3,
    }
    (path / "result.json").write_text(json.dumps(result))


def curve(path, rng, accuracy, speed, classes, steps) -> None:
    """A loss that falls, a validation accuracy that rises."""
    with Records(path) as records:
        for step in range(0, steps + 1, 5):
            left = math.exp(-speed * step)
            loss = math.log(classes) * left + 1 - accuracy + 0.05 * rng.normal()
            if step:
                record = {"step": step, "split": "train", "loss": max(loss, 0.01)}
                records.append(record)
            if step % 20 == 0:
                value = accuracy + 0.01 - (accuracy - 1 / classes) * left
                value += 0.008 * rng.normal()
                records.append(
                    {
                        "step": step,
                        "split": "validation",
                        "accuracy": value,
                        "loss": loss + 0.05,
                    }
                )
