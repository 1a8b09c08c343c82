"""Strategies trained in one program are the runs that they are alone."""

import numpy as np
import pytest
import tiny_study
from safetensors.numpy import load_file

from configs import lora_sweep
from experiments import launch, report
from experiments.loop import Stopped
from experiments.predict import main as predict
from experiments.records import read
from experiments.settings import check, names
from experiments.strategies import make_strategy
from tl_jax.tree import NoMatch

RUNS = {"low": (1, 0.1), "high": (3, 0.3)}
STEPS = 30


def lora(rank: int, rate: float) -> dict:
    freeze = {"transform": "freeze", "where": ".*"}
    own = {"transform": "lora", "rank": rank, "where": ".*/(query|value)"}
    head = {"transform": "rate", "where": "head/.*", "value": 1.0}
    return {"plan": (freeze, own, head), "rate": rate}


def config_of(folder, model, together: str):
    config = tiny_study.small(model, tiny_study.write(folder, "classification", ".csv"))
    named = {name: lora(*pair) for name, pair in RUNS.items()}
    config = tiny_study.strategies(config, **named)
    config.together, config.select, config.optimiser.name = together, "last", "sgd"
    config.steps, config.every.evaluate, config.every.log = STEPS, 15, 15
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def runs(folder, tiny_model):
    """`together` -> the workdir of a finished study."""
    made = {}
    for together in ("", "map"):
        made[together] = folder / f"runs{together}"
        config = config_of(folder, tiny_model, together)
        tiny_study.run(config, made[together])
    return made


@pytest.mark.parametrize("name", RUNS)
def test_runs_are_those_alone(name, runs):
    one, two = (runs[t] / name / "0" for t in ("", "map"))
    want, got = (load_file(run / "model.safetensors") for run in (one, two))
    assert got.keys() == want.keys()
    for path, leaf in want.items():
        assert got[path].shape == leaf.shape
        assert np.abs(got[path] - leaf).max() <= 1e-4 * np.abs(leaf).max()
    want, got = (np.load(run / "predictions.npz") for run in (one, two))
    np.testing.assert_allclose(got["logits"], want["logits"], atol=1e-4)
    for a, b in zip(*(read(run / "records.jsonl") for run in (two, one)), strict=True):
        assert a.keys() == b.keys()
        assert a["step"] == b["step"]
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
    want, got = (tiny_study.result(runs[t], name) for t in ("", "map"))
    assert got["test"]["accuracy"] == want["test"]["accuracy"]
    assert got["trainable"] == want["trainable"]
    assert sorted(p.name for p in two.iterdir()) == sorted(
        p.name for p in one.iterdir()
    )


def test_the_runs_moved_and_differ(runs):
    low, high = (read(runs["map"] / name / "0" / "records.jsonl") for name in RUNS)
    train = [row["loss"] for row in high if row["split"] == "train"]
    assert train[-1] < train[0] - 0.05
    assert abs(high[-1]["loss"] - low[-1]["loss"]) > 0.01


def test_one_program_trains_all_and_reports_know_each(runs):
    results = [tiny_study.result(runs["map"], name) for name in RUNS]
    # A step of all, predictions of all; predictions of one, at each rank.
    assert results[0]["programs"] == 3
    assert results[1]["programs"] == 4
    assert report.build(runs["map"]).is_file()
    assert not (runs["map"] / ".together" / "0").exists()


def test_a_stopped_group_goes_on_to_the_same_bytes(folder, tiny_model, runs):
    config, asked = config_of(folder, tiny_model, "map"), iter([False] * 20)
    workdir = folder / "stopped"
    with pytest.raises(Stopped):
        launch.study(config, workdir, ["test"], lambda: next(asked, True))
    assert not (workdir / "low" / "0" / "result.json").exists()
    tiny_study.run(config, workdir)
    for name in RUNS:
        for file in ("records.jsonl", "model.safetensors"):
            got, want = (w / name / "0" / file for w in (workdir, runs["map"]))
            assert got.read_bytes() == want.read_bytes()


def test_predict_reads_a_run_of_a_group(folder, runs):
    texts = folder / "texts.txt"
    texts.write_text("sun sea\nred blue\n")
    out = folder / "out.csv"
    code = predict(
        [
            *(f"--workdir={runs['map']}", f"--input={texts}"),
            *(f"--output={out}", "--strategy=high"),
        ]
    )
    assert code == 0
    assert len(out.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("select", "best", r"config.select is 'best', expected 'last'"),
        ("optimiser.end", 0.1, r"config.optimiser.end is 0.1, expected 0.0"),
        ("strategies.high.average", 0.9, r"strategies.high.average is 0.9, but that"),
        (
            "strategies.low.fit",
            "linear_probe",
            "strategies.low.fit|has phases or a fit",
        ),
        ("task", "tokens", "config.task is 'tokens': runs together"),
        ("task", "seq2seq", "config.task is 'seq2seq': runs together"),
    ],
)
def test_what_can_not_run_together_raises(field, value, said, folder, tiny_model):
    config = config_of(folder, tiny_model, "map")
    with config.unlocked():
        *parents, name = field.split(".")
        at = config
        for parent in parents:
            at = at[parent]
        at[name] = value
    with pytest.raises(ValueError, match=said):
        check(config)


def test_the_sweep_is_of_sixteen_that_can_run_together():
    config = lora_sweep.get_config()
    check(config)
    made = [make_strategy(name, config) for name in names(config)]
    assert len({strategy.title for strategy in made}) == 16


def test_an_unknown_batching_raises(folder, tiny_model):
    with pytest.raises(NoMatch, match=r"config.together 'vamp'.*nearest: vmap"):
        check(config_of(folder, tiny_model, "vamp"))
