"""Self-training and few labels by config: each runs, and their tables are checked."""

import jax
import numpy as np
import pytest
from tiny_shift import predictions, shifted, write_domains
from tiny_study import run

from experiments.algorithms import algorithm_of
from experiments.phases import cast_of, setting_of
from experiments.plans import first_plan
from experiments.problem import make_problem
from experiments.settings import check
from experiments.shift.self_training import SELF_TRAINING, of_head, viewed
from experiments.shift.views import make_view
from experiments.strategies import make_strategy
from tl_jax.tree import NoMatch

NOISE = {"augment": "noisy", "std": 0.1}
ZEROS = {"augment": "dropped", "rate": 0.3}
ROWS = 120
"""Of both domains."""
TABLES = {
    "mcc": {"temperature": 2.0},
    "bnm": {"strength": 0.5},
    "information_maximisation": {},
    "entropy_minimisation": {"strength": 0.2},
    "pseudo_labels": {"threshold": 0.4, "end": 0.5},
    "fixmatch": {"strong": NOISE, "weak": ZEROS, "threshold": 0.3},
    "flexmatch": {"strong": [NOISE, ZEROS], "threshold": 0.4},
    "mean_teacher": {"student": NOISE, "grows": 0.5},
    "noisy_student": {"noise": ZEROS, "begin": 0.5},
    "mme": {},
    "ccsa": {"margin": 2.0},
    "pada": {"every": 2},
}
TOGETHER = {
    "logits": TABLES.keys()
    - {"fixmatch", "flexmatch", "noisy_student", "mean_teacher", "mme", "ccsa", "pada"},
    "views": {"fixmatch", "flexmatch", "noisy_student"},
    "heads": {"mean_teacher", "mme", "pada"},
    "pairs": {"ccsa"},
}
"""Strategies of several terms each: every method in one."""


def strategy(*names):
    """A strategy of these methods, with few open labels where one must have some."""
    own = {"rate": 1e-2, "adapt": {name: TABLES[name] for name in sorted(names)}}
    if "mme" in names:
        own["plan"] = [{"transform": "cosine_head", "temperature": 0.1}]
    opened = any(SELF_TRAINING[name].labelled for name in names)
    return own | ({"target_labelled": 2} if opened else {})


def test_each_runs_by_config(tiny_model, tmp_path):
    """Networks over features, to finite logits, no two strategies to the same."""
    assert set().union(*TOGETHER.values()) == TABLES.keys()
    named = {name: strategy(*own) for name, own in TOGETHER.items()}
    config = shifted(tiny_model, write_domains(tmp_path), **named)
    config.shift.features, config.shift.network = True, (6,)
    run(config, tmp_path / "runs")
    logits = [predictions(tmp_path / "runs", name)["logits"] for name in TOGETHER]
    assert all(np.isfinite(found).all() for found in logits)
    for i in range(len(logits)):
        for j in range(i):
            assert (logits[i] != logits[j]).any(), (i, j)


def test_methods_that_keep_something_of_every_row_know_how_many(tiny_model, tmp_path):
    """All rows, as they go by numbers; and those of the target that train."""
    config = shifted(tiny_model, write_domains(tmp_path), flex=strategy("flexmatch"))
    problem = make_problem(config)
    seen = len(problem.split(config.seeds[0])["target"])
    assert problem.counts == {"examples": ROWS, "count": seen}
    assert 0 < seen < ROWS / 2
    own = make_strategy("flex", config)
    key, phase = jax.random.key(0), own.phases[0]
    setting = setting_of(config, problem.task, own, phase, None, counts=problem.counts)
    players = cast_of(phase, key, problem.base.model, first_plan(problem, own, key), 0)
    state, _ = algorithm_of(phase.recipe.make, setting, players).init(key, players)
    sizes = {leaf.shape for leaf in jax.tree.leaves(state.memory)}
    assert (ROWS,) in sizes


def test_every_table_is_tried():
    assert TABLES.keys() == SELF_TRAINING.keys()


def test_views_are_checked():
    with pytest.raises(NoMatch, match=r"strong\[0\]: view 'nosy'.*noisy"):
        make_view({"augment": "nosy"}, "strong")
    with pytest.raises(NoMatch, match=r"strong\[1\]: noisy's argument 'sdt'.*std"):
        make_view([ZEROS, {"augment": "noisy", "sdt": 1}], "strong")
    with pytest.raises(NoMatch, match="view 'mixup'"):
        make_view({"augment": "mixup"}, "weak")
    with pytest.raises(ValueError, match="expected a table with `augment`"):
        make_view([{"std": 1}], "weak")
    with pytest.raises(ValueError, match="weak is 3"):
        make_view(3, "weak")
    assert viewed({"weak": None, "threshold": 0.5}, {})["weak"] is None


def test_partial_sets_know_the_heads_classes(tiny_model, tmp_path):
    """A target without class c: alignment is refused, `pada` is not."""
    paths = write_domains(tmp_path, target_labels="ab")
    check(shifted(tiny_model, paths, one=strategy("pada")))
    names = [strategy(n) for n in ("pada", "mcc")]
    with pytest.raises(ValueError, match=r"two.adapt: .*target lacks: 'c'.*\(pada\)"):
        run(shifted(tiny_model, paths, two=names[1]), tmp_path / "none")
    later = {"phases": {"1": {"steps": 1}, "2": {"adapt": {"mcc": {}}, "steps": 1}}}
    with pytest.raises(ValueError, match=r"late.phases.2.adapt: .*target lacks"):
        make_problem(shifted(tiny_model, paths, late={"rate": 1e-2} | later))
    beside = {"rate": 1e-2, "adapt": {"pada": {}, "dann": {}}}
    make_problem(shifted(tiny_model, paths, both=beside))
    run(shifted(tiny_model, paths, one=names[0]), tmp_path / "runs")
    assert np.isfinite(predictions(tmp_path / "runs", "one")["logits"]).all()
    kernel = np.zeros((4, 7))
    player = type("P", (), {"plan": type("Q", (), {"params": {"head": {}}})})()
    player.plan.params["head"]["kernel"] = kernel
    assert of_head({"every": 3}, {"model": player}) == {"classes": 7, "every": 3}


def test_labelled_pairs_need_open_labels(tiny_model, tmp_path):
    own = strategy("ccsa") | {"target_labelled": 0}
    with pytest.raises(ValueError, match="ccsa"):
        run(shifted(tiny_model, write_domains(tmp_path), one=own), tmp_path / "runs")
