"""Pixel methods by config, on pictures of two domains."""

import numpy as np
import pytest
from tiny_images import write_pictures
from tiny_shift import predictions
from tiny_study import result, run

from configs import digits_shift
from experiments.settings import check
from tl_jax.tree import NoMatch

TRANSLATED = {
    "size": 16,
    "generator": {"width": 2, "depth": 1, "rate": 0.5},
    "critic": {"width": 2, "depth": 1},
    "pool": 4,
}
TABLES = {
    "fourier": {"beta": 0.1},
    "cycada": TRANSLATED,
    "soft_transfer": {"strength": 0.01},
}


def study(folder, **named):
    """The config of digits from a folder of pictures to one of turned ones."""
    paths = [
        write_pictures(folder / name, 8, flipped=name == "far")
        for name in ("near", "far")
    ]
    config = digits_shift.get_config()
    config.data.source, config.shift.target = map(str, paths)
    config.shift.pairs, config.data.size = (), 16
    config.model.filters, config.model.channels = 2, 1
    config.seeds, config.reference = (0,), ""
    config.steps, config.batch_size, config.eval_batch_size = 4, 4, 8
    config.every.call, config.every.log, config.every.evaluate = 2, 2, 4
    config.allocator, config.resamples = "system", 10
    own = {"pretrained": False, "rate": 1e-3}
    config.strategies = {name: own | table for name, table in named.items()}
    config.run = ",".join(named)
    return config


def test_each_runs_by_config(tmp_path):
    named = {name: {"adapt": {name: table}} for name, table in TABLES.items()}
    named["soft_transfer"]["target_labelled"] = 2
    run(study(tmp_path, plain={}, **named), tmp_path / "runs")
    base = predictions(tmp_path / "runs", "plain")["logits"]
    for name in TABLES:
        logits = predictions(tmp_path / "runs", name)["logits"]
        assert np.isfinite(logits).all()
        assert (logits != base).any()
        opened = result(tmp_path / "runs", name)["shift"]["opened_target_labels"]
        assert opened == (name == "soft_transfer")


def test_arguments_are_checked(tmp_path):
    for name in ("sise", "shape"):
        made = study(tmp_path / name, one={"adapt": {"cycada": {name: 16}}})
        with pytest.raises(NoMatch, match=f"adapt.cycada: argument.*{name}"):
            check(made)
