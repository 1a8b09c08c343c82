"""Few-shot studies small enough to kill many times; a config file as `tiny.py` is."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from configs import base, maml_sinusoid

EDGE = 16
SPLITS = {"train": "abcd", "val": "ef", "test": "gh"}
"""Split -> its classes, whose names are one letter each."""
FREEZE = {"transform": "freeze", "where": ".*"}
HEAD = {"transform": "rate", "where": "head/.*", "value": 1.0}


def sines(*names: str, steps: int = 20) -> ConfigDict:
    """Sine waves by some strategies of their config, with little of everything."""
    config = maml_sinusoid.get_config("3")
    config.name, config.run = "sines", ",".join(names)
    config.strategies = ConfigDict({n: config.strategies[n] for n in names})
    config.reference = ""
    config.model.widths = (8, 8)
    config.episodes.validation, config.episodes.test = 8, 16
    config.episodes.curve = (0, 1, 3)
    config.steps, config.batch_size, config.eval_batch_size = steps, 8, 8
    config.every.call, config.every.log, config.every.evaluate = 4, 4, 10
    config.resamples = 10
    return config


def write_classes(root: Path, count: int = 6) -> Path:
    """`count` pictures of each class in folders of splits: noise around a pattern."""
    rng = np.random.default_rng(0)
    for part, names in SPLITS.items():
        for name in names:
            (root / part / name).mkdir(parents=True)
            pattern = rng.integers(0, 200, (EDGE // 4, EDGE // 4, 3))
            pattern = pattern.repeat(4, 0).repeat(4, 1)
            for i in range(count):
                made = pattern + rng.integers(0, 40, pattern.shape)
                image = Image.fromarray(made.astype(np.uint8))
                image.save(root / part / name / f"{i}.png")
    return root


def pictures(source: Path | str, **named: dict) -> ConfigDict:
    """Two classes an episode, by these strategies over a narrow Conv4."""
    config = base.get_config()
    config.name, config.task, config.data.source = "tiny", "fewshot", str(source)
    config.model.spec, config.model.filters = "shape:conv4", 4
    config.data.size = EDGE
    config.episodes.ways, config.episodes.shots, config.episodes.queries = 2, 1, 2
    config.episodes.validation, config.episodes.test = 4, 8
    config.steps, config.batch_size, config.eval_batch_size = 6, 2, 4
    config.every.log, config.every.evaluate = 2, 3
    config.optimiser.warmup = 0
    config.resamples = 10
    config.strategies, config.run = ConfigDict(named), ",".join(named)
    return config


def learner(name: str, **more: object) -> dict:
    """A strategy from random weights."""
    table = {"learner": name, **more}
    return {"pretrained": False, "learner": table, "rate": 1e-3}


MAML = learner("maml", inner={"rate": 0.1, "steps": 2}, tasks="map", test_steps=3)
PROTOTYPICAL = learner("prototypical", norm="running")


def get_config(arg: str = "") -> ConfigDict:
    """Meta-SGD, whose rates are a player of their own; `arg`: more strategies.

    "mapped" is ANIL, one task after another. A folder of `write_classes` as `arg` gives
    its pictures to learners over a Conv4 instead.
    """
    if "/" in arg:
        made = pictures(arg, proto=PROTOTYPICAL, maml=MAML)
        made.batch_size = made.eval_batch_size = 8
        made.steps, made.every.log, made.every.evaluate = 4, 1, 2
        return made
    names = ["meta_sgd", *filter(None, arg.split(","))]
    config = sines(*("anil" if n == "mapped" else n for n in names), steps=12)
    if "mapped" in names:
        anil = config.strategies.anil
        anil.learner.tasks = "map"
        config.strategies.mapped = anil
        config.run = ",".join(names)
    config.every.call, config.every.log, config.every.evaluate = 1, 2, 3
    return config
