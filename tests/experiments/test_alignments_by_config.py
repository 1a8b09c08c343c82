"""Closed-form alignments of features by config, each as it is in the library."""

import json

import numpy as np
import pytest
from tiny_shift import predictions, shifted, write_domains
from tiny_study import run

from experiments import predict
from experiments.problem import make_problem
from experiments.settings import check
from experiments.shift.alignments import ALIGNMENTS
from experiments.shift.measures import features
from experiments.strategies import make_strategy
from tl_jax.tree import NoMatch

ALIGN = {
    "augmentation": {},
    "coral": {"shrinkage": 0.1, "means": True},
    "linear_ot": {"ridge": 0.01},
    "subspace_alignment": {"dimension": 3},
    "tca": {"dimension": 3, "mu": 0.1},
}
NAMED = {
    name: {
        "rate": 1e-2,
        "align": {name: table},
        "target_labelled": 2 if name == "augmentation" else 0,
    }
    for name, table in ALIGN.items()
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("domains"))


def over_features(model, paths, **named):
    config = shifted(model, paths, **named)
    config.shift.features = True
    return config


def test_all_alignments_are_tried():
    assert ALIGN.keys() == ALIGNMENTS.keys()


@pytest.mark.parametrize("name", ALIGN)
def test_rows_of_both_domains_are_mapped(name, tiny_model, paths):
    """By maps of the rows that train and those that adaptation may see."""
    config = over_features(tiny_model, paths, **NAMED)
    problem = make_problem(config)
    plain, rows = features(problem), problem.split(0)
    mapped = features(problem.of(make_strategy(name, config)))
    own = ALIGNMENTS[name](plain[rows["train"]], plain[rows["target"]], **ALIGN[name])
    target = problem.domains.is_target
    for map_, side in ((own.source, ~target), (own.target, target)):
        want = np.asarray(map_(plain[side]))
        np.testing.assert_allclose(mapped[side], want, atol=1e-5)


def test_each_gives_a_result_and_target_labels_change_none(tiny_model, tmp_path):
    labels = {"abc": "one", "bca": "two"}
    for kinds, folder in labels.items():
        (tmp_path / folder).mkdir()
        paths = write_domains(tmp_path / folder, target_labels=kinds)
        config = over_features(tiny_model, paths, **NAMED)
        run(config, tmp_path / folder / "runs")
    for name in set(ALIGN) - {"augmentation"}:
        one, two = (predictions(tmp_path / f / "runs", name) for f in labels.values())
        np.testing.assert_array_equal(one["logits"], two["logits"])
        assert (one["labels"] != two["labels"]).all()
    for name in ALIGN:
        new_rows_are_mapped_as_the_target_s(tmp_path / "one", name)


def new_rows_are_mapped_as_the_target_s(folder, name):
    """The target's own file, its labels aside, is labelled as the run has done."""
    out = folder / f"{name}.jsonl"
    line = f"--workdir {folder / 'runs'} --input {folder / 'far.csv'} --output {out}"
    assert predict.main([*line.split(), "--strategy", name]) == 0
    said = [json.loads(text) for text in out.read_text().splitlines()]
    judged = predictions(folder / "runs", name)
    first = len(said)  # the source has as many rows
    odds = np.exp(judged["logits"] - judged["logits"].max(1, keepdims=True))
    odds /= odds.sum(1, keepdims=True)
    assert odds.std(0).max() > 1e-3  # rows differ by more than is forgiven below
    for at, own in zip(judged["index"], odds, strict=True):
        found = [said[at - first]["probabilities"][kind] for kind in "abc"]
        np.testing.assert_allclose(found, own, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "table, message",
    [
        ({"corall": {}}, "one.align 'corall' matches nothing; .*coral"),
        ({"coral": {"shrink": 1}}, "align.coral: argument 'shrink' .*: shrinkage"),
    ],
)
def test_unknown_names_and_arguments_are_named(table, message, tiny_model, paths):
    one = {"rate": 1e-2, "align": table}
    with pytest.raises(NoMatch, match=message):
        check(over_features(tiny_model, paths, one=one))


def test_what_a_method_refuses_is_named(tiny_model, paths):
    config = over_features(tiny_model, paths, one=NAMED["tca"])
    config.strategies.one.align.tca.dimension = 1000
    with pytest.raises(
        ValueError, match=r"strategies.one.align.tca: dimension is 1000"
    ):
        make_problem(config).of(make_strategy("one", config))
