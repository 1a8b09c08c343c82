"""Studies of low-rank methods: what is pruned stays so, what is saved is enough."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_study import result, run, small, strategies, write

from configs.strategies import ADALORA, PISSA, VERA
from experiments import launch
from experiments.loop import Stopped

CHOSEN = {
    "adalora": (ADALORA, {"rank": 3}),
    "pissa": (PISSA, {"rank": 2}),
    "vera": (VERA, {"rank": 6}),
}


def smaller(strategy: dict, own: dict) -> dict:
    """The strategy at a rank that a width of 16 has."""
    first, method, last = strategy["plan"]
    made = strategy | {"rate": 1e-2, "plan": (first, method | own, last)}
    return made | ({"budget": {"target": 1}} if "budget" in made else {})


@pytest.fixture(scope="module")
def config(tiny_model, tmp_path_factory):
    source = write(tmp_path_factory.mktemp("data"), "classification", ".csv")
    named = {name: smaller(*chosen) for name, chosen in CHOSEN.items()}
    config = strategies(small(tiny_model, source), **named)
    config.every.evaluate = 4  # the best is the last: no earlier one, less pruned
    return config


@pytest.fixture(scope="module")
def study(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "runs"
    run(config, folder)
    return folder


def saved(folder, name):
    return load_file(folder / name / "0" / "model.safetensors")


def test_every_method_ends_with_a_score(study):
    for name in CHOSEN:
        assert 0 <= result(study, name)["test"]["accuracy"] <= 1


def test_what_was_pruned_is_saved_as_zero(study):
    values = {p: x for p, x in saved(study, "adalora").items() if p.endswith("/e")}
    assert len(values) == 4
    assert sum(np.count_nonzero(e) for e in values.values()) == 4


def test_what_differs_from_the_base_is_saved(study):
    kernels = [p for p in saved(study, "pissa") if p.endswith("query/kernel")]
    assert len(kernels) == 2
    shared = {p for p in saved(study, "vera") if p.startswith("patch/")}
    assert shared == {"patch/vera/a", "patch/vera/b"}
    assert not [p for p in saved(study, "vera") if p.endswith("query/kernel")]


def test_a_stopped_run_of_adalora_ends_bit_identically(config, study, tmp_path):
    own = config.copy_and_resolve_references()
    own.run = "adalora"
    asked = iter(range(10_000))
    with pytest.raises(Stopped):
        launch.study(own, tmp_path, ["test"], lambda: next(asked) >= 3)
    run(own, tmp_path)
    ours, theirs = saved(tmp_path, "adalora"), saved(study, "adalora")
    assert set(ours) == set(theirs)
    for path, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[path])
