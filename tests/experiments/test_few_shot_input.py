"""Mistakes in few-shot configs: each ends before any compute and names its field."""

import json

import pytest
from tiny_episodes import FREEZE, MAML, PROTOTYPICAL, learner, pictures, sines
from tiny_episodes import write_classes as write
from tiny_study import small, strategies
from tiny_study import write as write_texts

from experiments import launch, run
from experiments.settings import check
from tl_jax.pretrained.shapes import abstract


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    """Every mistake is found before the first run begins."""

    def begun(*args):
        raise AssertionError("a run began")

    monkeypatch.setattr(run, "execute", begun)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write(tmp_path_factory.mktemp("classes"))


def refused(config, workdir, *words):
    """The study ends with an error of these words, and leaves nothing behind."""
    with pytest.raises(ValueError) as found:
        launch.study(config, workdir, ["test"], lambda: False)
    for word in words:
        assert word in str(found.value), str(found.value)
    assert not (workdir / "study.json").exists()


def with_fields(config, **fields):
    for name, value in fields.items():
        part, _, field = name.partition("__")
        if not field:
            config[part] = value
            continue
        with config[part].ignore_type():
            config[part][field] = value
    return config


FIELDS = {
    "one way": (dict(episodes__ways=1), "episodes.ways is 1", "at least 2"),
    "no shots": (dict(episodes__shots=0), "episodes.shots is 0", "at least 1"),
    "half a query": (dict(episodes__queries=1.5), "episodes.queries is 1.5", "whole"),
    "one train way": (dict(episodes__train_ways=1), "episodes.train_ways is 1", "or 0"),
    "shots below 0": (dict(episodes__train_shots=-1), "episodes.train_shots is -1"),
    "no validation": (dict(episodes__validation=0), "episodes.validation is 0"),
    "no test": (dict(episodes__test=0), "episodes.test is 0"),
    "sampler": (dict(episodes__sampler="hots"), "episodes.sampler 'hots'", "host"),
    "curve": (dict(episodes__curve=(0, -1)), "episodes.curve is (0, -1)", "from 0"),
    "curve of halves": (dict(episodes__curve=(0.5,)), "episodes.curve", "whole"),
    "few of a class": (dict(data__per_class=3), "data.validation_per_class"),
    "test rows": (dict(data__test_limit=3), "data.test_limit is 3", "whole classes"),
    "hash": (dict(data__split_by="hash"), "data.split_by is 'hash'", "'class'"),
    "steps": (dict(steps=0), "config.steps is 0", "meta-steps", "that train: one"),
    "smoothing": (dict(smoothing=0.1), "takes no smoothing (0.1)"),
    "class weights": (dict(class_weights="balanced"), "class_weights"),
    "tasks": (dict(batch_size=3, accumulate=2), "config.accumulate is 2", "divide"),
    "mixing": (
        dict(augment=({"augment": "mixup", "alpha": 1.0},)),
        "config.augment mixes classes",
    ),
    "ways of a split": (
        dict(episodes__ways=3),
        *("config.episodes", "3 ways", "split 'validation'", "2 classes"),
    ),
    "training's ways": (
        dict(episodes__train_ways=5),
        *("config.episodes", "5 ways", "split 'train'", "4 classes", "5 or more"),
    ),
    "rows of a class": (
        dict(episodes__queries=9),
        *("split 'train'", "9 queries", "'a' (6)", "fewer than 10 rows"),
    ),
    "a generator": (dict(data__source="sinusoid"), "generates regressions", "fewshot"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_fields(case, source, tmp_path):
    fields, *words = FIELDS[case]
    config = with_fields(pictures(source, one=PROTOTYPICAL), **fields)
    refused(config, tmp_path / "runs", *words)


def maml(**inner):
    return learner("maml", inner=inner)


STRATEGIES = {
    "no learner": (learner("maml") | {"learner": {}}, "names no learner", "r2d2"),
    "a name alone": ({"learner": "maml", "rate": 0.1}, "is 'maml', expected a table"),
    "unknown learner": (learner("mamml"), "one.learner 'mamml'", "nearest: maml"),
    "argument": (learner("maml", stepz=1), "one.learner: maml's argument 'stepz'"),
    "tasks": (learner("maml", tasks="vmpa"), "one.learner.tasks 'vmpa'", "vmap"),
    "norm": (learner("maml", norm="suport"), "one.learner: norm 'suport'", "support"),
    "distance": (learner("prototypical", distance="l2"), "distance 'l2'", "euclid"),
    "ways": (PROTOTYPICAL | learner("prototypical", ways=1), "learner.ways is 1"),
    "train": (PROTOTYPICAL | {"train": "class"}, "one.train 'class'", "classes"),
    "reptile's classes": (
        learner("reptile", inner={}) | {"train": "classes"},
        *("one.train is 'classes'", "reptile trains on episodes alone"),
    ),
    "reptile's mode": (
        learner("reptile", inner={"mode": "first_order"}),
        *("one.learner", "'unrolled'"),
    ),
    "inner": (learner("maml", inner=0.1), "learner.inner is 0.1, expected a table"),
    "inner field": (maml(lr=0.1), "learner.inner: field 'lr'", "nearest"),
    "inner plan": (
        maml(plan=({"transform": "freeze", "where": "bocks/.*"},)),
        *("learner.inner.plan", "bocks/.*", "nearest: blocks/"),
    ),
    "nothing moves": (maml(plan=(FREEZE,)), "learner.inner.plan", "moves nothing"),
    "optimiser": (maml(optimiser="adm"), "learner.inner.optimiser 'adm'", "adam"),
    "momentum": (maml(optimiser="adam", momentum=0.9), "inner.momentum is 0.9"),
    "mode": (maml(mode="unroled"), "learner.inner.mode 'unroled'", "unrolled"),
    "learned": (maml(learned="element"), "learner.inner.learned", "elements"),
    "learned of Adam": (maml(learned="steps", optimiser="adam"), "of sgd"),
    "inner rate": (maml(rate=-1.0), "learner.inner.rate is -1.0", "0 or more"),
    "a range": (maml(rate=(0.1, 0.2)), "learner.inner.rate is (0.1, 0.2)", "learned"),
    "inner steps": (maml(steps=1.5), "learner.inner.steps is 1.5", "whole number"),
    "a head's fit": (MAML | {"fit": "linear_probe"}, "one.fit", "fewshot"),
    "frozen": (PROTOTYPICAL | {"frozen": True}, "one.frozen", "pretrained is False"),
    "frozen, no weights": (
        {"learner": PROTOTYPICAL["learner"], "frozen": True, "rate": 0.1},
        *("one.frozen", "'shape:conv4'", "has none"),
    ),
    "two heads": (
        MAML | {"phases": {"1_a": {"train": "classes"}, "2_b": {"train": "episodes"}}},
        *("one.phases: '2_b'", "'ways'", "'1_a'", "'classes'"),
    ),
}


@pytest.mark.parametrize("case", STRATEGIES)
def test_strategies(case, source, tmp_path):
    table, *words = STRATEGIES[case]
    refused(pictures(source, one=table), tmp_path / "runs", *words)


def test_reptile_has_no_microbatches(source, tmp_path):
    config = pictures(source, one=learner("reptile", inner={"steps": 1}))
    config.accumulate = 2
    refused(config, tmp_path / "runs", "config.accumulate is 2", "reptile has not")


def test_a_head_that_nobody_reads_may_stay_behind(source):
    """Training on all classes, then on episodes of them (Chen et al., 2021)."""
    both = {"1_a": {"train": "classes"}, "2_b": {"train": "episodes"}}
    check(pictures(source, one=PROTOTYPICAL | {"phases": both}))


def test_learners_of_classes_are_not_of_numbers(tmp_path):
    config = sines("maml")
    config.strategies.maml.learner = {"learner": "prototypical"}
    words = "maml.learner: prototypical learns fewshot", "fewshot_regression", "reptile"
    refused(config, tmp_path / "runs", *words)
    config = sines("maml")
    config.strategies.maml.train = "classes"
    refused(config, tmp_path / "runs", "maml.train is 'classes'", "have none")


def test_generated_tasks_have_no_pictures_to_change(tmp_path):
    config = sines("maml")
    config.augment = ({"augment": "horizontal_flip"},)
    refused(config, tmp_path / "runs", "config.augment changes pictures", "shape:mlp")
    config = sines("maml")
    config.data.source = "sinusoids"
    refused(config, tmp_path / "runs", "config.data.source 'sinusoids'", "sinusoid")


def test_frozen_features_cannot_be_augmented(golden, source, tmp_path):
    own = {"learner": {"learner": "prototypical"}, "frozen": True, "rate": 1e-3}
    config = pictures(source, one=own)
    config.model.spec, config.model.filters = str(golden / "vision/resnet_basic"), 0
    config.augment = ({"augment": "horizontal_flip"},)
    refused(config, tmp_path / "runs", "one.frozen", "config.augment changes them")
    config.strategies.one.steps = 0
    check(config)


def test_a_frozen_strategys_plan_is_checked_before_features_are_computed(
    golden, source, tmp_path, monkeypatch
):
    from experiments import frozen

    monkeypatch.setattr(frozen, "kept", lambda problem: 1 / 0)
    own = {"learner": {"learner": "prototypical"}, "frozen": True, "rate": 1e-3}
    config = pictures(source, one=own | {"plan": (FREEZE | {"where": "blocks/.*"},)})
    config.model.spec, config.model.filters = str(golden / "vision/resnet_basic"), 0
    refused(config, tmp_path / "runs", "strategies.one.plan", "blocks/.*")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"learner": {"learner": "maml"}}, "learner is given"),
        ({"train": "classes"}, "train is given"),
        ({"frozen": True}, "frozen is True"),
    ],
)
def test_other_tasks_have_no_learners(more, word, tiny_model, tmp_path):
    config = small(tiny_model, write_texts(tmp_path, "classification", ".csv"))
    config = strategies(config, one={"rate": 1e-3} | more)
    refused(config, tmp_path / "runs", "one", word, "'classification'")


def test_tasks_divide_over_devices(source):
    """One process has one device here, so the mesh is asked for alone."""
    import jax

    from experiments.devices import make_layout

    config = pictures(source, one=MAML)
    config.mesh.axes = "data=2"
    config.batch_size = 3
    with pytest.raises(ValueError, match="config.batch_size gives 3 rows"):
        make_layout(config, jax.devices() * 2)


def test_too_few_classes_for_three_splits(tmp_path):
    from PIL import Image

    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            image = Image.new("RGB", (16, 16), (10 * i, 40, 50))
            image.save(tmp_path / "data" / name / f"{i}.png")
    config = pictures(tmp_path / "data", one=PROTOTYPICAL)
    words = "config.data.source", "config.data.test, 0.2", "2 classes do not make 3"
    refused(config, tmp_path / "runs", *words)


def test_study_configs_survive_a_file(source):
    """What `study.json` keeps of a config makes the same strategies."""
    from ml_collections import ConfigDict

    config = sines("meta_sgd", "imaml", "anil")
    check(ConfigDict(json.loads(config.to_json_best_effort())))
    assert abstract("shape:mlp").params
