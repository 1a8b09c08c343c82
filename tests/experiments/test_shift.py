"""Studies of two domains by config: streams, labels that stay sealed, what is told."""

import io
import json

import jax
import numpy as np
import pytest
from rich.console import Console
from tiny_shift import LORA, predictions, shifted, write_domains
from tiny_study import result, run

from configs.strategies import FREEZE, HEAD
from experiments import predict
from experiments.dry_run import dry_run
from experiments.fits import fit_head
from experiments.plans import first_plan
from experiments.problem import make_problem
from experiments.settings import check
from experiments.shift.measures import Weighed
from experiments.shift.problem import SEALED
from experiments.strategies import make_strategy
from tl_jax.tree import NoMatch

PLAIN = {"rate": 1e-2}
MCC = {"rate": 1e-2, "adapt": {"mcc": {}}}
OVER_LORA = {"plan": (FREEZE, LORA, HEAD), "rate": 1e-2, "adapt": {"mcc": {}}}
CEILING = {"rate": 1e-2, "source": False, "target_labelled": -1}
FEW = {"rate": 1e-2, "target_labelled": 2, "adapt": {"mcc": {"strength": 0.5}}}
NAMED = {"plain": PLAIN, "mcc": MCC, "lora": OVER_LORA, "ceiling": CEILING, "few": FEW}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("domains"))


@pytest.fixture(scope="module")
def study(tiny_model, paths, tmp_path_factory):
    """A workdir with a run of each strategy."""
    workdir = tmp_path_factory.mktemp("shift") / "runs"
    run(shifted(tiny_model, paths, **NAMED), workdir)
    return workdir


def problem_of(config, strategy=None):
    problem = make_problem(config)
    return problem.of(make_strategy(strategy, config)) if strategy else problem


def test_rows_train_choose_adapt_and_judge(tiny_model, paths):
    problem = problem_of(shifted(tiny_model, paths, mcc=MCC))
    rows = problem.split(0)
    assert list(rows) == ["train", "validation", "target", "test"]
    target = problem.domains.is_target
    for name, part in rows.items():
        assert target[part].all() == (name in ("target", "test")), name
        assert target[part].any() == (name in ("target", "test")), name
    assert sum(map(len, rows.values())) == 120


def test_few_rows_of_the_target_are_drawn_anew_for_each_seed(tiny_model, paths):
    config = shifted(tiny_model, paths, mcc=MCC)
    whole = problem_of(config).split(0)
    config.shift.limit = 9
    check(config)
    problem = problem_of(config)
    one, again, other = (problem.split(seed) for seed in (0, 0, 1))
    assert problem.counts["count"] == len(one["target"]) == 9
    np.testing.assert_array_equal(one["target"], again["target"])
    assert set(one["target"]) != set(other["target"])
    assert {*one["target"], *other["target"]} <= set(whole["target"])
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(one[name], whole[name])
    config.shift.limit = 10_000  # at most
    np.testing.assert_array_equal(
        problem_of(config).split(1)["target"], whole["target"]
    )


def test_labels_of_the_target_are_nowhere_but_where_they_judge(tiny_model, paths):
    problem = problem_of(shifted(tiny_model, paths, mcc=MCC), "mcc")
    rows, target = problem.split(0), problem.domains.is_target
    assert (problem.encoded.labels[target] == SEALED).all()
    assert (problem.encoded.labels[~target] >= 0).all()
    (shown,) = [s["labels"] for s in problem.streams(rows["target"][:4], "train")]
    assert (shown == SEALED).all()
    (judged,) = [s["labels"] for s in problem.streams(rows["test"][:4], "test")]
    assert set(judged) <= {0, 1, 2}


def test_a_step_reads_what_its_recipe_asks_for(tiny_model, paths):
    config = shifted(tiny_model, paths, **NAMED)
    expected = {
        "plain": {"train": 8},
        "mcc": {"source": 8, "target": 6},
        "few": {"source": 8, "target": 6, "target_labelled": 6},
        "ceiling": {"train": 6},
    }
    config.shift.batch_size = 6
    problem = make_problem(config)
    for name, sizes in expected.items():
        strategy = make_strategy(name, config)
        recipe = strategy.phases[0].recipe
        own, rows = problem.of(strategy), problem.split(0)
        batch = own.batches(rows["train"], 0, recipe)(0, 2)
        found = {stream: leaf["weight"].shape[1] for stream, leaf in batch.items()}
        assert found == sizes
        assert all(("labels" in batch[n]) == (n != "target") for n in batch)


def test_opened_rows_have_their_labels_and_no_others(tiny_model, paths):
    config = shifted(tiny_model, paths, few=FEW)
    problem = problem_of(config, "few")
    recipe, rows = problem.strategy.phases[0].recipe, problem.split(0)
    batch = problem.batches(rows["train"], 0, recipe)(0, 5)["target_labelled"]
    index = np.unique(batch["index"])
    assert len(index) == 6
    assert problem.domains.is_target[index].all()
    assert not set(index) & set(rows["test"])
    np.testing.assert_array_equal(
        batch["labels"], problem.domains.truth[batch["index"]]
    )


def test_every_strategy_ends_with_a_result(study):
    info = json.loads((study / "study.json").read_text())
    assert info["opened_target_labels"] == ["ceiling", "few"]
    assert info["data"]["name"] == "near to far"
    for name in NAMED:
        found = result(study, name)
        assert found["shift"]["opened_target_labels"] == (name in ("ceiling", "few"))
        assert 0 <= found["test"]["accuracy"] <= 1
    assert (study / "report.html").is_file()


def test_target_labels_change_nothing_but_the_score(study, tiny_model, tmp_path):
    """Every target label is another one: the same models, to the bit."""
    turned = write_domains(tmp_path, target_labels="bca")
    workdir = tmp_path / "runs"
    run(shifted(tiny_model, turned, plain=PLAIN, mcc=MCC, lora=OVER_LORA), workdir)
    for name in ("plain", "mcc", "lora"):
        before, after = predictions(study, name), predictions(workdir, name)
        np.testing.assert_array_equal(before["index"], after["index"])
        np.testing.assert_array_equal(before["logits"], after["logits"])
        assert (before["labels"] != after["labels"]).all()


@pytest.fixture(scope="module")
def over_features(tiny_model, paths, tmp_path_factory):
    """A study of networks over features that are computed once."""
    workdir = tmp_path_factory.mktemp("features") / "runs"
    config = shifted(tiny_model, paths, **HEADS)
    config.shift.features, config.shift.network = True, (6,)
    run(config, workdir)
    return workdir, config


HEADS = {
    "plain": PLAIN,
    "mcc": MCC,
    "probe": {"plan": (FREEZE,), "fit": "linear_probe"},
}


def test_a_network_over_features(over_features):
    workdir, config = over_features
    for name in HEADS:
        assert result(workdir, name)["total"] == 16 * 6 + 6 + 6 * 3 + 3
    problem = make_problem(config)
    made = problem.of(make_strategy("mcc", config))
    features = made.encoded.columns["features"]
    assert features.shape == (120, 16)
    rows = problem.split(0)["test"][:4]
    (stream,) = problem.streams(rows, "test")
    outputs, _ = problem.base.model.apply(
        problem.base.params, problem.base.stats, stream["inputs"]
    )
    found = np.asarray(outputs.features)[np.asarray(stream["weight"]) > 0]
    index = stream["index"][np.asarray(stream["weight"]) > 0]
    np.testing.assert_allclose(found, features[index], atol=1e-5)


def test_new_texts_are_labelled_as_the_run_would(over_features, paths, tmp_path):
    workdir, config = over_features
    given = tmp_path / "new.csv"
    rows = paths[1].read_text().splitlines()
    given.write_text("\n".join(rows) + "\n")
    line = ["--workdir", str(workdir), "--input", str(given), "--strategy", "mcc"]
    out = tmp_path / "labels.jsonl"
    assert predict.main([*line, "--output", str(out)]) == 0
    said = [json.loads(text) for text in out.read_text().splitlines()]
    judged = predictions(workdir, "mcc")
    first = make_problem(config).domains.starts[-1]
    for at, guess in zip(judged["index"], judged["predictions"], strict=True):
        assert said[at - first]["label"] == "abc"[guess]


@pytest.mark.parametrize("features", [False, True])
def test_a_dry_run_has_the_shapes_of_a_run(features, tiny_model, paths):
    config = shifted(tiny_model, paths, **NAMED)
    config.shift.features, config.shift.network = features, (6,) if features else ()
    if features:
        config.run = "plain,mcc,few,ceiling"
    classes = 3
    needs = dry_run(config, Console(file=io.StringIO()), classes=classes)
    assert len(needs) == len(config.run.split(","))
    if features:
        assert needs[0].total == 16 * 6 + 6 + 6 * 3 + 3
    assert needs[1].products > needs[0].products  # of two domains, not of one
    plain, ceiling = needs[0], needs[-1 if features else 3]
    assert ceiling.products == plain.products  # as many rows, of the target


BAD = {
    "adapt.mccc": ({"adapt": {"mccc": {}}}, NoMatch, "adapt.*mcc"),
    "argument": ({"adapt": {"mcc": {"heat": 1}}}, NoMatch, "adapt.mcc: argument"),
    "reweigh": ({"reweigh": {"kmmm": {}}}, NoMatch, "reweigh"),
    "nothing": ({"source": False}, ValueError, "nothing trains"),
    "opened": ({"target_labelled": -2}, ValueError, "target_labelled is -2"),
    "align": ({"align": {"coral": {}}}, ValueError, "shift.features is False"),
    "two": ({"adapt": {"mcc": {}}, "train": "classes"}, ValueError, "adapt and train"),
    "fit": ({"fit": "ridge", "target_labelled": 2}, ValueError, "fit fits rows"),
    "penalty": (
        {"adapt": {"mcc": {}}, "penalties": {"l2_sp": {}}},
        *(ValueError, "steps read domains; expected none$"),
    ),
    "supervised": (
        *({"align": {"augmentation": {}}}, ValueError, "target_labelled is 0"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_right_is_named(case, tiny_model, paths):
    table, error, match = BAD[case]
    config = shifted(tiny_model, paths, one=PLAIN | table)
    with pytest.raises(error, match=match):
        check(config)


FIELDS = {
    "target": ("", "config.shift.*is empty"),
    "batch_size": (-1, "batch_size is -1, .* that of the source"),
    "limit": (-2, "limit is -2, .* 0 for all rows"),
    "network": ((4,), "features is False"),
    "pairs": (("a", "b"), "distinct pairs"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_fields_that_can_not_be_right_are_named(field, tiny_model, paths):
    config = shifted(tiny_model, paths, one=MCC)
    config.shift[field], match = FIELDS[field]
    with pytest.raises(ValueError, match=match):
        check(config)


def test_domains_must_be_two_of_one_set_of_classes(tiny_model, paths, tmp_path):
    same = shifted(tiny_model, (paths[0], paths[0]), one=MCC)
    with pytest.raises(ValueError, match="expected two domains"):
        make_problem(same)
    more = write_domains(tmp_path, target_labels="abd")
    with pytest.raises(ValueError, match="far.csv'.*source lacks: 'd'"):
        make_problem(shifted(tiny_model, (paths[0], more[1]), one=MCC))
    fewer = write_domains(tmp_path, target_labels="ab")
    with pytest.raises(ValueError, match="one.adapt: .*target lacks: 'c'.*pada"):
        make_problem(shifted(tiny_model, (paths[0], fewer[1]), one=MCC))


def test_a_head_that_is_fitted_counts_rows_by_importance(tiny_model, paths):
    """Weights of 0 and 1 fit what the rows of weight 1 fit alone."""
    table = {"plan": (FREEZE,), "fit": "ridge", "reweigh": {"kmm": {}}}
    config = shifted(tiny_model, paths, one=table)
    problem = problem_of(config, "one")
    rows, counts = problem.split(0), np.ones(120, np.float32)
    left = rows["train"][::3]
    counts[left] = 0
    problem.memo[0] = Weighed(counts, {})
    strategy = make_strategy("one", config)
    plan = first_plan(problem, strategy, jax.random.key(0))
    weighed = fit_head("ridge", problem, plan, rows)
    fewer = rows | {"train": np.setdiff1d(rows["train"], left)}
    problem.memo[0] = Weighed(np.ones(120, np.float32), {})
    wanted = fit_head("ridge", problem, plan, fewer)
    plain = fit_head("ridge", problem, plan, rows)
    for name in ("kernel", "bias"):
        found, other = weighed.params["head"][name], plain.params["head"][name]
        np.testing.assert_allclose(found, wanted.params["head"][name], atol=2e-4)
        assert np.abs(found - other).max() > 1e-3


def test_weights_are_found_once_a_seed(tiny_model, paths, monkeypatch):
    config = shifted(tiny_model, paths, one=PLAIN | {"reweigh": {"kmm": {}}})
    problem, calls = problem_of(config, "one"), []
    found = Weighed(np.ones(120, np.float32), {})
    monkeypatch.setattr(
        "experiments.shift.problem.weighed", lambda *args: calls.append(args) or found
    )
    recipe, rows = problem.strategy.phases[0].recipe, problem.split(0)["train"]
    for seed in (0, 0, 1):
        problem.batches(rows, seed, recipe)
    assert [seed for _, seed in calls] == [0, 1]
