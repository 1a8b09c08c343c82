"""What data tell of weights: files that plans of FISH masks and EVA begin with."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tiny_study import result, run, small, strategies, write

from configs.strategies import EVA, FISH, KNN
from experiments import measure, measured, predict, transforms
from experiments.problem import make_problem
from tl_jax import transfer
from tl_jax.estimators import NearestProbe
from tl_jax.tree import flatten, put

ROWS = 20


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data"), "classification", ".csv")


@pytest.fixture(scope="module")
def config(tiny_model, source):
    return small(tiny_model, source)


@pytest.fixture(scope="module")
def files(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    make = partial(measure.measure, config, folder)
    return {
        "fisher": make("fisher", "blocks/.*", ROWS),
        "moments": make("moments", ".*/(query|value)", ROWS),
        "features": make("features", ".*", ROWS),
    }


@pytest.fixture(scope="module")
def problem(config):
    return make_problem(config)


def chosen(problem) -> np.ndarray:
    train = problem.split(0)["train"]
    return np.random.default_rng(0).permutation(train)[:ROWS]


def one_by_one(problem):
    """Inputs [1 T] and label of one row after another, nothing beside it."""
    alone = problem.config.copy_and_resolve_references()
    alone.eval_batch_size = 1
    for stream in problem._replace(config=alone).streams(chosen(problem)):
        shown = int(stream["inputs"]["mask"].sum())
        inputs = {n: jnp.asarray(x[:, :shown]) for n, x in stream["inputs"].items()}
        yield inputs, int(stream["labels"][0])


def test_scores_are_squared_gradients_of_one_row_after_another(files, problem):
    base = problem.base
    plan = transfer.full(base.params, base.stats)
    head = transfer.new_head(problem.outputs, base.model.width)
    params = head(jax.random.key(0), plan).params
    found = load_file(files["fisher"])
    assert set(found) == {p for p in flatten(params) if p.startswith("blocks/")}

    def of(moving, inputs, label):
        whole = params
        for path, leaf in moving.items():
            whole = put(whole, path, leaf)
        logits = base.model.apply(whole, base.stats, inputs)[0].logits
        return jax.nn.log_softmax(logits)[0, label]

    held = {path: flatten(params)[path] for path in found}
    grads = [jax.grad(of)(held, *row) for row in one_by_one(problem)]
    for path, scores in found.items():
        want = np.mean([np.square(own[path]) for own in grads], 0)
        np.testing.assert_allclose(scores, want, rtol=2e-4, atol=1e-9)


def test_moments_are_those_of_one_row_after_another(files, problem):
    base, found = problem.base, load_file(files["moments"])
    total = dict.fromkeys(found, 0.0)
    for inputs, _ in one_by_one(problem):
        how = base.model, base.params, base.stats, inputs, ".*/(query|value)"
        for path, own in transfer.input_moments(*how).items():
            total[path] = total[path] + own
    assert len(found) == 4
    for path, sums in found.items():
        np.testing.assert_allclose(sums, total[path], rtol=1e-4, atol=1e-4)


def test_features_are_those_of_one_row_after_another(files, problem):
    found = load_file(files["features"])
    wanted = {}
    for inputs, label in one_by_one(problem):
        own = problem.base.model.apply(problem.base.params, problem.base.stats, inputs)
        wanted[float(own[0].features.sum())] = label
    assert found["features"].shape == (ROWS, 16)
    sums = found["features"].sum(1)
    for own, label in zip(sums, found["labels"], strict=True):
        nearest = min(wanted, key=lambda other: abs(other - own))
        assert abs(nearest - own) < 1e-4
        assert wanted[nearest] == label


def test_a_file_says_what_it_is(files):
    with safe_open(files["fisher"], "numpy") as opened:
        told = opened.metadata()
    assert told["what"] == "fisher"
    assert (told["rows"], told["seed"], told["where"]) == (str(ROWS), "0", "blocks/.*")


def own(strategy: dict, **given) -> dict:
    first, method, last = strategy["plan"]
    return strategy | {"rate": 1e-2, "plan": (first, method | given, last)}


def voters(file) -> dict:
    return KNN["plan"][1] | {"rows": str(file), "k": 5}


@pytest.fixture(scope="module")
def study(tiny_model, source, files, tmp_path_factory):
    config = strategies(
        small(tiny_model, source),
        fish=own(FISH, scores=str(files["fisher"]), share=0.1),
        eva=own(EVA, moments=str(files["moments"]), rank=2),
        knn=KNN | {"plan": (KNN["plan"][0], voters(files["features"]))},
    )
    folder = tmp_path_factory.mktemp("study") / "runs"
    run(config, folder)
    return folder


def test_studies_begin_with_what_was_measured(study, files):
    sizes = [scores.size for scores in load_file(files["fisher"]).values()]
    head = 16 * 3 + 3
    assert result(study, "fish")["trainable"] == round(0.1 * sum(sizes)) + head
    assert result(study, "eva")["trainable"] == 4 * 2 * (16 + 16) + head
    assert result(study, "knn")["trainable"] == 0


def test_a_study_of_knn_is_the_probe_on_the_same_features(study, files, problem):
    found = load_file(files["features"])
    probe = NearestProbe(k=5).fit(found["features"], found["labels"])
    rows = problem.split(0)["test"]
    right = []
    for stream in problem.streams(rows, "test"):
        base = problem.base
        own = base.model.apply(base.params, base.stats, stream["inputs"])[0].features
        real = stream["weight"] > 0
        guess = probe.predict(np.asarray(own)[real])
        right += list(guess == stream["labels"][real])
    assert result(study, "knn")["test"]["accuracy"] == pytest.approx(np.mean(right))


@pytest.mark.parametrize("name", ["fish", "eva", "knn"])
def test_new_texts_are_labelled_by_what_was_saved(name, study, tmp_path):
    new = tmp_path / "new.txt"
    new.write_text("red blue 1 0\nsun sea 2 0\n")
    out = tmp_path / "out.csv"
    args = [f"--workdir={study}", f"--strategy={name}", f"--input={new}"]
    assert predict.main([*args, f"--output={out}"]) == 0
    assert len(out.read_text().splitlines()) == 3


def test_wrong_files_are_named_with_the_way_to_right_ones(files, tmp_path):
    at = "config.strategies.fish.plan"

    def plan(file):
        return [{"transform": "fish_mask", "scores": str(file), "share": 0.1}]

    absent = tmp_path / "absent.safetensors"
    says = rf"{at}\[0\]: there is no file {absent}; .*measure --what=fisher"
    with pytest.raises(FileNotFoundError, match=says):
        transforms.make_transfer(plan(absent), at)
    with pytest.raises(ValueError, match="holds moments, expected fisher"):
        transforms.make_transfer(plan(files["moments"]), at)
    other = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(2)}, other)
    with pytest.raises(ValueError, match="holds something else"):
        measured.fish_mask(str(other), 0.1)
    other.write_bytes(files["fisher"].read_bytes()[:-9])
    with pytest.raises(ValueError, match="is damaged"):
        measured.fish_mask(str(other), 0.1)
    step = {"transform": "eva", "moments": str(files["moments"]), "rank": 2}
    with pytest.raises(ValueError, match="eva: where 'nowhere' matches nothing"):
        transforms.make_transfer([step | {"where": "nowhere"}], at)


def test_bad_commands_are_refused_at_once(config, tmp_path, capsys):
    assert measure.main(["measure", "--help"]) == 0
    assert "--what=moments" in capsys.readouterr().out
    for flag, says in (("--what=fischer", "fisher"), ("--rows=0", "a number of rows")):
        assert measure.main(["measure", flag]) == 2
        assert says in capsys.readouterr().err
    config = config.copy_and_resolve_references()
    config.task = "tokens"
    with pytest.raises(ValueError, match="task for a measurement 'tokens'"):
        measure.measure(config, tmp_path, "fisher", ".*", 4)
