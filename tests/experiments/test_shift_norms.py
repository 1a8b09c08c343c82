"""Norms, tests and several sources by config: each method of the tables runs."""

import numpy as np
import pytest
from tiny_shift import predictions, shifted, write_domains
from tiny_study import run

from experiments.shift.normalisation import NORMALISATION

HEAD = {"transform": "freeze", "where": "head/.*"}
NORMS = (
    {"transform": "freeze", "where": ".*"},
    {"transform": "layer_norms"},
)
BATCH_NORMS = ("adabn",)
"""Of models with batch norms alone; a text model has none."""
AFTER = {
    "tent": (NORMS, {"statistics": "moved"}),
    "shot": ((HEAD,), {"period": 2}),
    "t3a": ((), {"capacity": 3}),
}
"""Method of the target alone -> plan and table of the phase that follows training."""


def phases(name):
    """Training on the source, then the method."""
    plan, table = AFTER[name]
    return {
        "phases": {
            "1_source": {"steps": 3},
            "2_target": {"steps": 3, "plan": plan, "adapt": {name: table}},
        },
        "rate": 1e-2,
    }


def test_every_method_has_a_case():
    cases = {"hafn", "safn", "bsp", *AFTER, *BATCH_NORMS}
    assert cases == NORMALISATION.keys()


def test_terms_run_by_config(tiny_model, tmp_path):
    paths = write_domains(tmp_path)
    tables = {"hafn": {"radius": 3.0}, "safn": {"delta": 0.5}, "bsp": {"k": 2}}
    named = {
        n: {"rate": 1e-2, "adapt": {n: t | {"strength": 1.0}}}
        for n, t in tables.items()
    }
    run(shifted(tiny_model, paths, **named), tmp_path / "runs")
    logits = [predictions(tmp_path / "runs", n)["logits"] for n in tables]
    assert all(np.isfinite(found).all() for found in logits)
    assert (logits[0] != logits[1]).any()


def test_methods_of_the_target_follow_the_source(tiny_model, tmp_path):
    paths = write_domains(tmp_path)
    named = {name: phases(name) for name in AFTER}
    named["source"] = {"rate": 1e-2, "steps": 3}
    run(shifted(tiny_model, paths, **named), tmp_path / "runs")
    before = predictions(tmp_path / "runs", "source")["logits"]
    for name in AFTER:
        found = predictions(tmp_path / "runs", name)["logits"]
        assert np.isfinite(found).all(), name
        assert (found != before).any(), name


def test_sources_run_by_config(tiny_model, tmp_path):
    paths = write_domains(tmp_path)
    third = tmp_path / "third.csv"
    third.write_text(paths[0].read_text().replace("sky", "sea"))
    tables = {"irm": {"domains": 2}, "vrex": {"domains": 2}}
    tables["group_dro"] = {"domains": 2, "rate": 5.0}
    named = {n: {"rate": 1e-2, "adapt": {n: t}} for n, t in tables.items()}
    config = shifted(tiny_model, paths, **named)
    config.shift.sources = (str(third),)
    run(config, tmp_path / "runs")
    logits = [predictions(tmp_path / "runs", n)["logits"] for n in tables]
    assert all(np.isfinite(found).all() for found in logits)
    assert (logits[0] != logits[1]).any()
    assert (logits[1] != logits[2]).any()


def test_words_are_not_mixed(tiny_model, tmp_path):
    paths = write_domains(tmp_path)
    third = tmp_path / "third.csv"
    third.write_text(paths[0].read_text())
    table = {"rate": 1e-2, "adapt": {"mixup_domains": {"domains": 2}}}
    config = shifted(tiny_model, paths, mixed=table)
    config.shift.sources = (str(third),)
    with pytest.raises(BaseException, match="which cannot be mixed"):
        run(config, tmp_path / "runs")
