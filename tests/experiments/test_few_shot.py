"""Few-shot studies from a config to a report and resumed."""

import numpy as np
import pytest
from interrupted import same_ends
from several import records
from tiny_episodes import (
    FREEZE,
    HEAD,
    MAML,
    PROTOTYPICAL,
    learner,
    pictures,
    sines,
    write_classes,
)
from tiny_study import result, run

from experiments import launch
from experiments.loop import Stopped
from experiments.predict import main as predict
from experiments.problem import make_problem
from experiments.strategies import make_strategy
from tl_jax.tree import flatten

NAMED = ("maml", "meta_sgd", "reptile")


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    """Twenty steps of three learners on sine waves, and of an oracle."""
    folder = tmp_path_factory.mktemp("waves")
    run(sines(*NAMED, "oracle"), folder)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def classes(source, tmp_path_factory):
    """Pictures by three ways, one of them with two seeds' worth of episodes."""
    folder = tmp_path_factory.mktemp("pictures")
    centroid = PROTOTYPICAL | {"train": "classes"}
    config = pictures(source, proto=PROTOTYPICAL, centroid=centroid, maml=MAML)
    config.augment = ({"augment": "horizontal_flip"},)
    config.strategies.proto.average = 0.5
    config.seeds = (0, 1)
    run(config, folder)
    return folder


@pytest.mark.parametrize("name", NAMED)
def test_a_study_of_sines(name, waves):
    found, folder = result(waves, name), waves / name / "0"
    assert found["steps"] == 20
    with np.load(folder / "adaptation.npz") as kept:
        assert kept["steps"].tolist() == [0, 1, 3]
        for i, k in enumerate(kept["steps"]):
            after = found["after"][str(k)]["median_mse"]
            assert kept["scores/median_mse"][i] == pytest.approx(after)
        assert kept["fits/truth"].shape == kept["fits/after_1"].shape == (4, 101, 1)
        x, truth = kept["fits/x"][..., 0], kept["fits/truth"][..., 0]
        assert (np.diff(x, axis=1) > 0).all()
        assert np.abs(truth).max() > 0.1
    assert found["after"]["1"] == {
        n: v for n, v in found["test"].items() if n != "intervals"
    }
    assert found["after"]["0"]["median_mse"] != found["after"]["1"]["median_mse"]


def test_every_players_weights_are_saved(waves):
    from safetensors.numpy import load_file

    model = load_file(waves / "meta_sgd" / "0" / "model.safetensors")
    rates = load_file(waves / "meta_sgd" / "0" / "rates.safetensors")
    assert {n: leaf.shape for n, leaf in rates.items()} == {
        n: leaf.shape for n, leaf in model.items()
    }
    assert all((leaf < 0.2).all() for leaf in rates.values())
    assert not (waves / "maml" / "0" / "rates.safetensors").exists()
    both = sum(leaf.size for leaf in [*model.values(), *rates.values()])
    assert result(waves, "meta_sgd")["trainable"] == both


def test_the_report_draws_adaptation_and_fits(waves):
    page = (waves / "report.html").read_text()
    for name in ("adaptation.png", "fits.png"):
        assert (waves / name).read_bytes().startswith(b"\x89PNG")
    assert "Adaptation" in page
    assert "Fits of some test tasks" in page
    assert "Dashed: learners that take no steps." in page
    assert "over test episodes" in page
    assert "on the same test rows" not in page
    assert "3 shots, 3 queries; 8 to choose by, 16 to test with" in page


def test_the_oracle_takes_no_steps_and_counts_are_whole(waves):
    found = result(waves, "oracle")
    assert found["after"] == {}
    assert not (waves / "oracle" / "0" / "adaptation.npz").exists()
    head, _, *rows = (waves / "table.md").read_text().splitlines()
    where = [cell.strip() for cell in head.split("|")].index("diverged")
    counts = [row.split("|")[where].strip() for row in rows[:4]]
    assert all(count.isdigit() for count in counts), counts


def test_predict_refuses_what_has_no_labels_of_its_own(waves, capsys):
    assert predict([f"--workdir={waves}", f"--input={waves}"]) == 2
    said = capsys.readouterr().err
    assert "of generated numbers, which this command can't read" in said
    assert str(waves) in said


def test_a_study_of_pictures(classes):
    for name in ("proto", "centroid", "maml"):
        found = result(classes, name)
        assert 0.5 <= found["test"]["accuracy"] <= 1
        low, high = found["test"]["intervals"]["accuracy"]
        assert low <= found["test"]["accuracy"] <= high


def test_a_report_says_what_an_episode_is_and_lists_few_classes(classes, monkeypatch):
    from experiments import page, report

    text = (classes / "report.html").read_text()
    assert "2 ways, 1 shot, 2 queries; 4 to choose by, 8 to test with" in text
    assert "8: a, b, c, d, e, f, g, h<" in text
    monkeypatch.setattr(page, "CLASSES", 3)
    text = report.build(classes).read_text()
    assert "8: a, b, c and 5 more<" in text


def test_test_episodes_are_the_same_for_all_strategies_and_seeds(classes):
    labels = []
    for name in ("proto", "centroid", "maml"):
        for seed in "01":
            with np.load(classes / name / seed / "predictions.npz") as kept:
                assert kept["labels"].shape == (8, 4)
                labels.append(kept["labels"])
    assert all(np.array_equal(labels[0], other) for other in labels)
    assert len({row.tobytes() for row in labels[0]}) > 1  # episodes differ


def stopped_and_resumed(config, workdir, after):
    """A study that is asked to end after so many questions, then given again."""
    asked = iter(range(10_000))
    with pytest.raises(Stopped):
        launch.study(config, workdir, ["test"], lambda: next(asked) >= after)
    run(config, workdir)


def test_a_stopped_study_ends_bit_identically(waves, tmp_path):
    """Of a learner whose rates are a player of their own."""
    stopped_and_resumed(sines("meta_sgd"), tmp_path, 3)
    same_ends(tmp_path / "meta_sgd" / "0", waves / "meta_sgd" / "0")
    with (
        np.load(tmp_path / "meta_sgd/0/adaptation.npz") as ours,
        np.load(waves / "meta_sgd/0/adaptation.npz") as theirs,
    ):
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_a_stopped_study_of_pictures_ends_bit_identically(source, classes, tmp_path):
    """With statistics of batch norm, an average, and augmented episodes."""
    config = pictures(source, proto=PROTOTYPICAL | {"average": 0.5})
    config.augment = ({"augment": "horizontal_flip"},)
    stopped_and_resumed(config, tmp_path, 4)
    same_ends(tmp_path / "proto" / "0", classes / "proto" / "0")


def test_a_stopped_study_whose_host_draws_ends_bit_identically(source, tmp_path):
    """Episodes are functions of their numbers, wherever the study goes on."""
    config = pictures(source, proto=PROTOTYPICAL)
    config.episodes.sampler = "host"
    run(config, tmp_path / "whole")
    stopped_and_resumed(config, tmp_path / "stopped", 4)
    same_ends(*(tmp_path / name / "proto" / "0" for name in ("stopped", "whole")))


def test_the_saved_weights_are_the_average(classes, source, tmp_path):
    from safetensors.numpy import load_file

    config = pictures(source, proto=PROTOTYPICAL)
    config.augment = ({"augment": "horizontal_flip"},)
    run(config, tmp_path)
    files = [
        load_file(root / "proto" / "0" / "model.safetensors")
        for root in (tmp_path, classes)
    ]
    moving = [name for name in files[0] if name.endswith("kernel")]
    assert all((files[0][name] != files[1][name]).any() for name in moving)
    losses = [
        [r["loss"] for r in records(root, "proto") if r["split"] == "train"]
        for root in (tmp_path, classes)
    ]
    assert losses[0] == losses[1]  # training does not see it


def test_an_inner_plan_moves_the_head_alone(source):
    """What a task moves is not what the run moves."""
    inner = {"rate": 0.1, "steps": 1, "plan": (FREEZE, HEAD)}
    config = pictures(source, one=learner("maml", inner=inner))
    problem = make_problem(config)
    assert "trainable 598 of 598" in launch.dry_plan(
        problem, make_strategy("one", config)
    )
    import jax

    from experiments.inner_loops import make_inner
    from experiments.plans import first_plan
    from tl_jax.models import frozen_features
    from tl_jax.types import Player

    plan = first_plan(problem, make_strategy("one", config), jax.random.key(0))
    made, _ = make_inner(inner, "config.here", None)
    rates = flatten(made(Player(frozen_features(1), plan, None)).rates)
    assert {path for path, rate in rates.items() if rate} == {
        "head/kernel",
        "head/bias",
    }
