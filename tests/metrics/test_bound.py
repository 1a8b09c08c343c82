import math

import numpy as np
import pytest

from tl_jax.metrics import bound
from tl_jax.metrics.bound import ben_david, hoeffding, vc_slack


def problem(*, conflict=False, seed=0, count=240):
    """Labels by the second coordinate; the first one shifts, or labels swap."""
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, count, 3))
    target[:, 0] += 1.5
    labels, truth = ((x[:, 1] > 0).astype(int) for x in (source, target))
    truth = 1 - truth if conflict else truth

    def model(rows):
        return np.stack([-rows[:, 1], rows[:, 1] + 0.1], 1)

    return {
        "source_features": source,
        "source_logits": model(source),
        "source_labels": labels,
        "target_features": target,
        "target_logits": model(target),
    }, truth


def found(given, **options):
    return ben_david(**given, classifier="linear", **options)


def test_it_holds_and_its_terms_are_what_they_are():
    given, truth = problem()
    made = found(given, target_labels=truth)
    wrong = given["source_logits"].argmax(-1) != given["source_labels"]
    assert made.source.value == pytest.approx(wrong.mean())
    assert made.target.value <= made.total
    parts = made.source.value + made.half_divergence.value + made.ideal.value
    assert made.total == pytest.approx(parts)
    # N(0, 1) and N(1.5, 1): 1 - 2 Phi(-0.75)
    assert made.half_divergence.value == pytest.approx(0.547, abs=0.1)
    assert made.ideal.value < 0.1
    for term in (made.source, made.half_divergence, made.ideal):
        assert term.low <= term.value <= term.high
    assert made.source.most == pytest.approx(made.source.value + hoeffding(240))


def test_labels_that_contradict_make_the_ideal_large():
    given, truth = problem(conflict=True)
    made = found(given, target_labels=truth)
    assert made.ideal.value > 0.6
    assert made.target.value > 0.9
    assert made.total >= made.target.value
    assert made.note == "A bound above 1 says nothing."


def test_without_target_labels_the_ideal_is_unknown():
    given, truth = problem(conflict=True)
    made = found(given)
    assert (made.ideal, made.target, made.total) == (None, None, None)
    assert "unknown" in made.note
    opened = found(given, target_labels=truth)
    assert made.source == opened.source
    assert made.half_divergence == opened.half_divergence


def test_inequalities_are_the_published_ones():
    assert hoeffding(200) == pytest.approx(math.sqrt(math.log(40) / 400))
    inside = 2 * 4 * math.log(2000) + math.log(2 / 0.1)
    assert vc_slack(1000, 4, level=0.9) == pytest.approx(4 * math.sqrt(inside / 1000))


def test_a_mean_is_within_hoeffdings_radius():
    """Of 300 samples of 50 coins at most 5 % are out; in fact far fewer."""
    draws = np.random.default_rng(0).random((300, 50)) < 0.5
    out = np.abs(draws.mean(1) - 0.5) > hoeffding(50)
    assert 0 < hoeffding(50) < 0.2
    assert out.mean() <= 0.05


def test_the_ideal_weighs_both_domains_alike():
    """Few rows of a target whose labels are swapped cost as much as many."""
    given, truth = problem(conflict=True)
    few = {k: v[:60] if k.startswith("target") else v for k, v in given.items()}
    made = found(few, target_labels=truth[:60])
    assert made.ideal.value > 0.6


def test_by_default_two_half_spaces_differ(monkeypatch):
    """Both estimates are asked for their products."""
    asked = []

    def instead(function):
        def quick(*args, classifier, **options):
            asked.append(classifier)
            return function(*args, classifier="linear", **options)

        return quick

    for name in ("proxy_a_distance", "h_divergence"):
        monkeypatch.setattr(bound, name, instead(getattr(bound, name)))
    given, _ = problem(count=40)
    assert ben_david(**given).half_divergence.most == 1
    assert asked == ["product", "product"]


def test_bad_input():
    given, truth = problem(count=40)
    with pytest.raises(ValueError, match=r"source: logits.*\(40, 2\), labels \(39,\)"):
        found(given | {"source_labels": given["source_labels"][:-1]})
    with pytest.raises(ValueError, match=r"target: logits.*labels \(30,\)"):
        found(given, target_labels=truth[:30])
    less = {k: v for k, v in given.items() if k != "target_logits"}
    with pytest.raises(ValueError, match="40 source and 30 target labels"):
        found(less, target_labels=truth[:30])
