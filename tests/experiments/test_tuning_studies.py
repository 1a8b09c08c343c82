"""Fine-tuning by config: phases that end on plateaus, penalties, probes."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from interrupted import ends
from safetensors.numpy import load_file
from tiny_images import write_pictures
from tiny_study import result, run, small, strategies, write

from configs import finetune_image
from configs.strategies import BSS, DELTA, FREEZE, HEAD, L2_SP, LP_FT
from experiments import fits, launch, predict, store
from experiments import run as runs
from experiments.loop import Progressed, Stopped
from experiments.plans import first_plan
from experiments.problem import make_problem
from experiments.strategies import make_strategy
from tl_jax import estimators
from tl_jax.algorithms import START
from tl_jax.estimators.linear_probe import STRENGTHS
from tl_jax.tree import copy, flatten

PLATEAU = {
    "rate": 1e-6,
    "penalties": {"l2_sp": {"strength": 1.0, "head_strength": 1.0}},
    "phases": {
        "1_head": {"plan": (FREEZE, HEAD), "steps": 20, "patience": 2},
        "2_top": {
            "plan": ({"transform": "top", "count": 1},),
            "steps": 5,
            "rate": 1e-2,
        },
    },
}
"""At a rate of 1e-6 no decision changes: the first phase ends on a plateau."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data"), "classification", ".csv")


@pytest.fixture
def phased(tiny_model, source):
    config = small(tiny_model, source)
    config.optimiser.warmup, config.select = 0.0, "last"
    return strategies(config, phased=PLATEAU)


def stopped_and_resumed(config, workdir, step):
    """What is left of a run that was stopped after a step and given again."""
    calls = []

    def stop():
        calls.append(None)
        return len(calls) > step  # asked once before the run, then after each step

    with pytest.raises(Stopped):
        launch.study(config, workdir, ["test"], stop)
    assert (workdir / "phased" / "0" / "checkpoints" / f"step_{step}").is_dir()
    launch.study(config, workdir, ["test"], lambda: False)
    return ends(workdir / "phased" / "0")


@pytest.fixture(scope="module")
def whole(tiny_model, source, tmp_path_factory):
    config = small(tiny_model, source)
    config.optimiser.warmup, config.select = 0.0, "last"
    folder = tmp_path_factory.mktemp("whole")
    run(strategies(config, phased=PLATEAU), folder)
    return folder


def test_a_phase_ends_on_a_plateau_and_says_so(whole):
    """The best evaluation, of step 2, and two more without a better one."""
    found = result(whole, "phased")
    assert found["starts"] == [0, 6]
    assert found["steps"] == 11
    lines = (whole / "phased" / "0" / "records.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row for row in rows if row["split"] == "plateau"] == [
        {"step": 6, "split": "plateau", "best_step": 2, "evaluations": 2}
    ]


@pytest.mark.parametrize("step", [3, 5, 6, 7])
def test_resuming_across_the_change_of_phase_is_exact(phased, whole, step, tmp_path):
    """Before the plateau is seen, as it is, and just after the next phase began."""
    found = stopped_and_resumed(phased, tmp_path, step)
    assert found == ends(whole / "phased" / "0")


def forget_evaluations(monkeypatch):
    """The bug: a resumed run counts evaluations anew."""
    whole = runs.position

    def position(meta):
        return whole(meta)._replace(known=Progressed())

    monkeypatch.setattr(runs, "position", position)


def forget_moments(monkeypatch):
    """The bug: a resumed run has fresh moments."""
    whole = store.restore

    def restore(saved, step, state, frozen):
        new, frozen = whole(saved, step, state, frozen)
        return new._replace(opt=state.opt), frozen

    monkeypatch.setattr(store, "restore", restore)


def forget_the_start(monkeypatch):
    """The bug: a resumed run takes where it is for where it began."""
    whole = store.restore

    def restore(saved, step, state, frozen):
        new, frozen = whole(saved, step, state, frozen)
        here = copy(new.train["model"])
        start = {"model": new.memory[START]["model"] | {"params": here}}
        return new._replace(memory=new.memory | {START: start}), frozen

    monkeypatch.setattr(store, "restore", restore)


@pytest.mark.parametrize(
    "bug, step", [(forget_evaluations, 5), (forget_moments, 8), (forget_the_start, 8)]
)
def test_what_a_resumed_run_may_not_forget(
    bug, step, phased, whole, tmp_path, monkeypatch
):
    bug(monkeypatch)
    found = stopped_and_resumed(phased, tmp_path, step)
    assert found[0] != ends(whole / "phased" / "0")[0]


def test_tuning_begins_at_the_probe(tiny_model, source, tmp_path):
    """At a rate of nothing the two phases predict what the first one does."""
    config = small(tiny_model, source)
    config.select = "last"
    slow = LP_FT | {"rate": 1e-12}
    probe = {"plan": (FREEZE,), "fit": "linear_probe"}
    run(strategies(config, lp_ft=slow, probe=probe), tmp_path)
    logits = [
        np.load(tmp_path / name / "0" / "predictions.npz")["logits"]
        for name in ("lp_ft", "probe")
    ]
    np.testing.assert_allclose(*logits, atol=1e-5)
    found = result(tmp_path, "lp_ft")
    assert found["trainable"] == found["total"]
    assert found["steps"] == 4


def test_penalties_by_config(tiny_model, source, tmp_path):
    config = small(tiny_model, source)
    config.select, config.optimiser.weight_decay = "last", 0.0
    config.steps, config.every.evaluate = 6, 6
    tied = {"penalties": {"l2_sp": {"strength": 100.0, "head_strength": 0.0}}}
    named = dict(plain={}, tied=tied, l2_sp=L2_SP, delta=DELTA, bss=BSS)
    named = {name: own | {"rate": 1e-2} for name, own in named.items()}
    run(strategies(config, **named), tmp_path)
    problem = make_problem(config)
    start, far = flatten(problem.base.params), {}
    for name in named:
        now = load_file(tmp_path / name / "0" / "model.safetensors")
        moved = [np.square(now[p] - start[p]).sum() for p in now if p in start]
        far[name] = float(sum(moved))
    assert far["tied"] < 0.7 * far["plain"]
    assert len(set(far.values())) == len(far)


def test_starts_and_joined_blocks(tiny_model, source):
    config = small(tiny_model, source)
    config.model.stack = True
    with pytest.raises(ValueError, match=r"penalties: l2_sp keeps .*stack=False"):
        make_strategy("phased", strategies(config, phased=PLATEAU))


@pytest.fixture(scope="module")
def co_tuned(golden, tmp_path_factory):
    """A config of a ResNet with a head of its own, for pictures of three kinds."""
    config = finetune_image.get_config("co_tuning")
    config.model.spec, config.model.head = f"{golden}/vision/resnet_basic", "keep"
    config.data.source = str(write_pictures(tmp_path_factory.mktemp("photos") / "all"))
    config.data.size, config.augment, config.steps = 16, (), 2
    config.batch_size = config.eval_batch_size = 8
    config.every.evaluate, config.resamples = 2, 10
    config.strategies.co_tuning.penalties.co_tuning.temperature = 2.0
    return config


def test_co_tuning_measures_how_classes_relate(co_tuned, tmp_path):
    """A loop over the training rows: what the old head says of each class."""
    run(co_tuned, tmp_path)
    found = load_file(tmp_path / "co_tuning" / "0" / "model.safetensors")
    problem = make_problem(co_tuned)
    base, rows = problem.base, problem.split(0)["train"]
    total, counts = np.zeros((3, 3)), np.zeros(3)
    for stream in problem.streams(rows):
        logits = base.model.apply(base.params, base.stats, stream["inputs"])[0].logits
        odds = np.exp(np.asarray(logits, np.float64) / 2.0)
        for i, weight in enumerate(stream["weight"]):
            if weight:
                total[stream["labels"][i]] += odds[i] / odds[i].sum()
                counts[stream["labels"][i]] += 1
    want = total / counts[:, None]
    np.testing.assert_allclose(found["source/relation"], want, rtol=1e-4)
    assert np.abs(want - want.mean()).max() > 1e-3
    old = base.params["head"]["kernel"]
    assert np.abs(found["source/kernel"] - old).max() > 0
    assert (found["source/kernel"].shape, found["head/kernel"].shape) == ((24, 3),) * 2
    file = next((Path(co_tuned.data.source) / "a").glob("*.png"))
    flags = [f"--workdir={tmp_path}", f"--input={file}"]
    assert predict.main([*flags, f"--output={tmp_path / 'said.jsonl'}"]) == 0


def test_a_ridge_is_chosen_by_leave_one_out(tiny_model, source):
    """Of the training rows alone: there are no others to read."""
    config = small(tiny_model, source)
    ridge = {"plan": (FREEZE, HEAD), "fit": "ridge"}
    config = strategies(config, ridge=ridge)
    problem, strategy = make_problem(config), make_strategy("ridge", config)
    plan = first_plan(problem, strategy, jax.random.key(0))
    rows = {"train": problem.split(0)["train"]}
    found = fits.fit_head("ridge", problem, plan, rows)
    x, y = fits.features_of(problem, plan, rows["train"])
    want = estimators.ridge(x, 2 * np.eye(3)[y] - 1, STRENGTHS)
    np.testing.assert_allclose(found.params["head"]["kernel"], want.kernel, rtol=1e-5)
    assert (np.argmax(x @ want.kernel + want.bias, -1) == y).mean() > 0.9
