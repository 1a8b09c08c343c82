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


def test_streams_of_two_strategies_hold_the_same_rows(source):
    problems = []
    for table, sampler in ((PROTOTYPICAL, "device"), (MAML, "host")):
        config = pictures(source, one=table)
        config.episodes.sampler = sampler
        problems.append(make_problem(config).of(make_strategy("one", config)))
    for split in ("validation", "test"):
        rows = [
            [s["inputs"][side]["index"].tolist() for s in own for side in s["inputs"]]
            for own in (p.streams(p.split(0)[split], split) for p in problems)
        ]
        assert rows[0] == rows[1]
    both = [
        {i for s in p.streams(p.split(0)[n], n) for i in s["index"]}
        for p in problems
        for n in ("validation", "test")
    ]
    assert [len(found) for found in both] == [4, 8] * 2


def seen(problem, rows, sampler, name):
    """Class names in the first batches of training."""
    config = problem.config
    recipe = make_strategy(name, config).phases[0].recipe
    batch = problem.batches(rows, 0, recipe)(0, 8)
    if "task" in batch and sampler == "device":
        tasks = {key: leaf.ravel() for key, leaf in batch["task"].items()}
        batch = problem.draw(problem.held, tasks)
    index = np.concatenate([np.ravel(s["index"]) for s in batch.values()])
    labels = problem.encoded.labels[index[index >= 0]]
    return {problem.classes[label] for label in np.unique(labels)}


@pytest.mark.parametrize("sampler", ["device", "host"])
@pytest.mark.parametrize("train", ["episodes", "classes"])
def test_held_out_classes_never_train(sampler, train, source, monkeypatch):
    """A class that leaks into the training rows would be seen to."""
    config = pictures(source, one=PROTOTYPICAL | {"train": train})
    config.episodes.sampler = sampler
    problem = make_problem(config)
    rows = problem.split(0)
    assert seen(problem, rows["train"], sampler, "one") == set("abcd")

    from experiments import episodes

    first = rows["test"][:6]  # one class of the two
    leaky = rows | {"train": np.concatenate([rows["train"], first])}
    monkeypatch.setattr(episodes.Episodes, "split", lambda self, seed: leaky)
    leaking = make_problem(config)
    assert seen(leaking, leaky["train"], sampler, "one") == set("abcdg")


def test_classes_train_on_as_many_rows_as_episodes_hold(source):
    config = pictures(source, one=PROTOTYPICAL | {"train": "classes"})
    problem = make_problem(config)
    recipe = make_strategy("one", config).phases[0].recipe
    batch = problem.batches(problem.split(0)["train"], 0, recipe)(0, 3)
    assert batch["train"]["labels"].shape == (3, 2 * 2 * (1 + 2))
    assert set(np.unique(batch["train"]["labels"])) <= set(range(4))
    assert problem.width(recipe.head) == 4


def test_larger_episodes_in_training(source, tmp_path):
    """Four ways in training, two in tests; the host draws."""
    config = pictures(source, one=PROTOTYPICAL)
    config.episodes.train_ways, config.episodes.sampler = 4, "host"
    config.steps = 2
    run(config, tmp_path)
    with np.load(tmp_path / "one" / "0" / "predictions.npz") as kept:
        assert kept["logits"].shape == (8, 4, 4)
        assert (kept["logits"][..., 2:] == -1e9).all()
        assert (kept["predictions"] < 2).all()


def test_augmented_episodes_train_differently(source, tmp_path):
    """And the same again by the same seed."""
    found = []
    for i, augment in enumerate(((), ({"augment": "horizontal_flip"},)) * 2):
        config = pictures(source, one=PROTOTYPICAL)
        config.augment, config.steps = augment, 2
        run(config, tmp_path / str(i))
        found.append(records(tmp_path / str(i), "one")[0]["loss"])
    assert found[0] == found[2] != found[1] == found[3]


def test_frozen_features_are_computed_once(golden, source, tmp_path, monkeypatch):
    """Predictions are those of the body itself; the second time they come from disk."""
    from experiments import frozen

    monkeypatch.setenv("TL_JAX_CACHE", str(tmp_path / "cache"))
    own = {"learner": {"learner": "prototypical", "norm": "running"}, "steps": 0}
    config = pictures(source, frozen=own | {"frozen": True}, whole=own)
    config.model.spec, config.model.filters = str(golden / "vision/resnet_basic"), 0
    run(config, tmp_path / "runs")
    logits = []
    for name in ("frozen", "whole"):
        with np.load(tmp_path / "runs" / name / "0" / "predictions.npz") as kept:
            logits.append(kept["logits"])
    apart = np.abs(logits[0] - logits[1]).max()
    assert apart <= 1e-4 * np.abs(logits[1]).max()
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 1
    monkeypatch.setattr(frozen, "computed", lambda problem: 1 / 0)
    problem = make_problem(config)
    again = problem.of(make_strategy("frozen", config))
    assert again.encoded.columns["features"].shape == (48, again.base.model.width)
    config.model.form = "lax"  # computed in another way: another file
    with pytest.raises(ZeroDivisionError):
        make_problem(config).of(make_strategy("frozen", config))


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
