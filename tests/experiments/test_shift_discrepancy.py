"""Distances of domains by config: each runs, and their tables are checked."""

import numpy as np
import pytest
from tiny_shift import predictions, shifted, write_domains
from tiny_study import run

from experiments.settings import check
from experiments.shift.discrepancy import DISCREPANCY, record
from tl_jax.losses.discrepancy import Gaussians
from tl_jax.tree import NoMatch

TABLES = {
    "mmd": {"kernel": {"scales": [0.5, 1.0], "width": "mean"}, "unbiased": False},
    "dan": {"linear": True},
    "jan": {"kernels": [{"width": "median"}, {"width": 0.5}]},
    "coral": {"means": True},
    "cmd": {"moments": 3, "span": 2.0},
    "sliced": {"lines": 8},
    "deep_jdot": {"how": {"epsilon": 0.1, "rounds": 20}, "classes": 0.5},
}


def test_three_run_by_config(tiny_model, tmp_path):
    """Each to weights of its own; one without a table of records, two with."""
    paths = write_domains(tmp_path)
    names = ("mmd", "coral", "deep_jdot")
    named = {n: {"rate": 1e-2, "adapt": {n: TABLES[n]}} for n in names}
    run(shifted(tiny_model, paths, **named), tmp_path / "runs")
    logits = [predictions(tmp_path / "runs", n)["logits"] for n in names]
    assert all(np.isfinite(found).all() for found in logits)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (logits[i] != logits[j]).any()


def test_every_table_makes_a_term(tiny_model, tmp_path):
    paths = write_domains(tmp_path)
    assert TABLES.keys() == DISCREPANCY.keys()
    named = {n: {"rate": 1e-2, "adapt": {n: t}} for n, t in TABLES.items()}
    check(shifted(tiny_model, paths, **named))
    for name, table in TABLES.items():
        entry = DISCREPANCY[name]
        assert callable(entry.make(**entry.given(table, {})).value)


def test_kernels_are_tables():
    table = {"scales": [1, 2.0], "width": "mean"}
    assert record(Gaussians, "kernel", table) == Gaussians((1, 2.0), "mean")
    with pytest.raises(NoMatch, match="kernel: field.*with.*width"):
        record(Gaussians, "kernel", {"with": "mean"})


def test_arguments_are_checked(tiny_model, tmp_path):
    paths = write_domains(tmp_path)
    table = {"rate": 1e-2, "adapt": {"mmd": {"strenght": 1.0}}}
    with pytest.raises(NoMatch, match=r"adapt.mmd: argument.*strength"):
        check(shifted(tiny_model, paths, one=table))
