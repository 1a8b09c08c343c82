"""Label-free scores of runs: written, shown, chosen by, and blind to target labels."""

import json

import numpy as np
import pytest
from tiny_shift import predictions, shifted, write_domains
from tiny_study import result, run

from experiments.settings import check
from experiments.shift import selection
from experiments.study import load
from experiments.summary import summarise
from tl_jax.metrics.label_free import SELECTORS

PLAIN = {"rate": 1e-2, "title": "Source only"}
SLOW = {"rate": 1e-4}
MCC = {"rate": 1e-2, "adapt": {"mcc": {}}}
CEILING = {"rate": 1e-2, "source": False, "target_labelled": -1}
NAMED = {"plain": PLAIN, "slow": SLOW, "mcc": MCC, "ceiling": CEILING}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("domains"))


def by_dev(model, paths, **named):
    """Weights of the evaluation that DEV likes best; enough rows to measure."""
    config = shifted(model, paths, **named)
    config.select, config.data.validation = "dev", 0.3
    return config


@pytest.fixture(scope="module")
def study(tiny_model, paths, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("selectors") / "runs"
    run(by_dev(tiny_model, paths, **NAMED), workdir)
    return workdir


def test_every_run_scores_itself(study):
    for name in NAMED:
        found = result(study, name)
        assert set(found["selectors"]) == set(SELECTORS)
        assert np.isfinite(list(found["selectors"].values())).all()
        assert 0 <= found["distance"]["value"] <= 2
        error = found["bound"]["target"]["value"]
        assert error == pytest.approx(1 - found["test"]["accuracy"])
        held = found["bound"]["source"]["value"]
        assert held == pytest.approx(1 - found["validation"]["accuracy"])


def test_evaluations_choose_by_the_selector(study):
    lines = (study / "plain" / "0" / "records.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    scores = {r["step"]: r["selector/dev"] for r in kept if r["split"] == "validation"}
    assert len(scores) == 2
    found = result(study, "plain")
    assert found["best_step"] == min(scores, key=scores.get)
    assert found["selectors"]["dev"] == pytest.approx(min(scores.values()), rel=1e-5)


def test_target_labels_change_no_selector(study, tiny_model, tmp_path):
    turned = write_domains(tmp_path, target_labels="bca")
    workdir = tmp_path / "runs"
    run(by_dev(tiny_model, turned, plain=PLAIN, mcc=MCC), workdir)
    for name in ("plain", "mcc"):
        before, after = result(study, name), result(workdir, name)
        assert before["selectors"] == after["selectors"]
        assert before["distance"] == after["distance"]
        assert before["best_step"] == after["best_step"]
        assert before["bound"]["target"] != after["bound"]["target"]
        logits = (
            predictions(study, name)["logits"],
            predictions(workdir, name)["logits"],
        )
        np.testing.assert_array_equal(*logits)


def test_the_page_ranks_them(study):
    page = (study / "report.html").read_text()
    assert "Choosing without target labels" in page
    assert "Spearman" in page
    for file in ("selectors", "distances", "bounds", "domains_pca", "domains_tsne"):
        assert (study / f"{file}.png").read_bytes().startswith(b"\x89PNG"), file


def test_what_saw_target_labels_is_not_ranked(study):
    found = selection.models(summarise(load(study)))
    assert found.titles == ("Source only", "slow", "mcc")
    truth = [
        result(study, name)["test"]["accuracy"] for name in ("plain", "slow", "mcc")
    ]
    assert found.truth == pytest.approx(truth)
    heads, rows = selection.cells(found)
    assert len(rows) == len(SELECTORS)
    assert {len(row) for row in rows} == {len(heads)}


def test_a_warning_stands_in_the_notes():
    up = {"entropy": (1.0, 2.0, 3.0), "bnm": (1.0, 2.0, 3.0)}
    apart = selection.Models(("a", "b", "c"), (0.1, 0.2, 0.3), up)
    assert selection.notes(apart)[-1].startswith("Warning: Scores that see no target")
    same = apart._replace(scores={"bnm": up["bnm"], "information": up["bnm"]})
    assert len(selection.notes(same)) == 1
    assert list(selection.agreements(apart)) == ["bnm", "entropy"]


def test_seeds_are_averaged_before_they_disagree():
    """Two strategies of two seeds each: single runs differ, means do not."""
    scores = {"bnm": (1.0, 4.0, 2.0, 2.5), "information": (1.0, 4.0, 2.2, 2.5)}
    found = selection.Models(("a", "a", "b", "b"), (0.1, 0.4, 0.2, 0.2), scores)
    assert selection.disagreements(found).warning is None
    assert selection.disagreements(found).winners == {"a": ("bnm", "information")}


def test_one_domain_has_nothing_to_choose_by(tiny_model, paths):
    config = shifted(tiny_model, paths, plain={"rate": 1e-2})
    config.select = "devv"
    with pytest.raises(ValueError, match="select.*dev"):
        check(config)
    config.select, config.shift.target = "dev", ""
    with pytest.raises(ValueError, match="config.select is 'dev'.*two domains"):
        check(config)
