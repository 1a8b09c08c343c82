"""TrAdaBoost, its regression, and two stages against loops and on shifted data."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tl_jax.estimators.boosting import (
    Side,
    TrAdaBoost,
    TrAdaBoostR2,
    TwoStageTrAdaBoostR2,
    frozen_source,
    majority,
    median,
    tradaboost,
    tradaboost_r2,
    two_stage,
)
from tl_jax.estimators.boosting.rounds import weighted_median
from tl_jax.estimators.boosting.two_stage import lower


def stump(rows, targets, weight):
    tree = DecisionTreeClassifier(max_depth=1, random_state=0)
    return tree.fit(rows, targets, sample_weight=weight)


def line(rows, targets, weight):
    return LinearRegression().fit(rows, targets, sample_weight=weight)


def side(rows, targets):
    return Side(rows, targets, np.ones(len(rows)))


def classes(seed=0, source=40, target=15):
    """A source where the rule is another one for half of the plane."""
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(source, 2)), rng.normal(size=(target, 2))
    y = np.where(x[:, 1] > 0, x[:, 0] > 0.3, x[:, 0] < 0).astype(int)
    return side(x, y), side(t, (t[:, 0] > 0.3).astype(int))


def numbers(seed=0, source=40, target=12):
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(source, 2)), rng.normal(size=(target, 2))
    y = x @ [1.0, 2] + np.where(x[:, 1] > 0, 3, 0) + 0.1 * rng.normal(size=source)
    return side(x, y), side(t, t @ [1.0, 2] + 0.1 * rng.normal(size=target))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_weights_are_the_loop_s(kind):
    if kind == "classes":
        (source, target), learn, boost = classes(), stump, tradaboost
    else:
        (source, target), learn, boost = numbers(), line, tradaboost_r2
    n, rounds = len(source.rows), 6
    rows = np.concatenate([source.rows, target.rows])
    true = np.concatenate([source.targets, target.targets])
    w = [1.0] * len(rows)
    keep = 1 / (1 + np.sqrt(2 * np.log(n) / rounds))
    found = boost(learn, source, target, rounds)
    for r in range(rounds):
        total = sum(w)
        w = [each / total for each in w]
        np.testing.assert_allclose(found.source_weights[r], w[:n], rtol=1e-9)
        np.testing.assert_allclose(found.target_weights[r], w[n:], rtol=1e-9)
        guess = learn(rows, true, np.array(w) * len(w)).predict(rows)
        far = np.abs(guess - true)
        e = far if kind == "classes" else far / far.max()
        wrong = sum(w[i] * e[i] for i in range(n, len(w))) / sum(w[n:])
        assert found.errors[r] == pytest.approx(wrong, rel=1e-6, abs=1e-12)
        kept = min(max(wrong, 1e-10), 0.499)
        assert found.votes[r] == pytest.approx(np.log((1 - kept) / kept), rel=1e-6)
        for i in range(len(w)):
            w[i] *= keep ** e[i] if i < n else ((1 - kept) / kept) ** e[i]


def test_the_later_half_votes():
    source, target = classes()
    found = tradaboost(stump, source, target, 5)
    assert len(found.last.models) == 3
    shares = majority(found, target.rows, np.array([0, 1]))
    for row, got in zip(target.rows, shares, strict=True):
        votes = np.zeros(2)
        for model, vote in list(zip(found.models, found.votes, strict=True))[2:]:
            votes[int(model.predict(row[None])[0])] += vote
        np.testing.assert_allclose(got, votes / votes.sum(), rtol=1e-9)


def test_the_weighted_median_by_hand():
    values = np.array([[3.0, 1], [1, 5], [2, 9]])
    np.testing.assert_array_equal(weighted_median(values, np.ones(3)), [2, 5])
    np.testing.assert_array_equal(weighted_median(values, np.r_[8.0, 1, 1]), [3, 1])


def test_source_rows_that_contradict_the_target_are_let_go():
    source, target = classes(target=30)
    found = tradaboost(stump, source, target, 10)
    wrong = (source.rows[:, 0] > 0.3) != source.targets
    last = found.source_weights[-1]
    assert last[wrong].mean() < 0.2 * last[~wrong].mean()
    np.testing.assert_allclose(found.source_weights[0], 1 / 70)


def test_weights_of_the_source_stay_inside():
    source, target = numbers()
    found = frozen_source(line, source, target, 5)
    for weight in found.source_weights:
        np.testing.assert_allclose(weight, 1 / 52, rtol=1e-12)
    for weight in found.target_weights:
        assert weight.sum() == pytest.approx(12 / 52)
    assert len(found.models) > 1
    assert np.ptp(found.target_weights[-1]) > 0


def test_the_target_s_share_rises_in_equal_steps():
    source, target = numbers()
    how = dict(stages=4, rounds=2, folds=3)
    found = two_stage(line, source, target, **how)
    begun = 12 / 52
    np.testing.assert_allclose(
        found.shares, begun + np.arange(4) / 3 * (1 - begun), rtol=1e-6
    )
    assert found.chosen == found.scores.argmin()
    assert found.scores[found.chosen] < 0.5 * found.scores[0]


def test_the_share_is_reached_by_one_factor():
    source, target = numbers()
    e = np.linspace(0, 1, 40)
    weight = lower(source.weight, e, target, 0.5)
    assert weight.sum() == pytest.approx(12)
    b = weight[-1] / source.weight[-1]
    np.testing.assert_allclose(weight, source.weight * b**e, rtol=1e-9)
    none = lower(source.weight, np.zeros(40), target, 0.5)
    np.testing.assert_allclose(none, source.weight)


def test_a_source_that_is_half_wrong_helps_and_does_not_harm():
    """Against a stump of both sides' rows as they are, over five draws."""
    test = np.random.default_rng(99).normal(size=(500, 2))
    truth = (test[:, 0] > 0.3).astype(int)
    gains = []
    for seed in range(5):
        source, target = classes(seed, 60, 20)
        given = source.rows, source.targets, target.rows, target.targets
        boosted = TrAdaBoost(DecisionTreeClassifier(max_depth=1)).fit(*given)
        rows = np.concatenate([source.rows, target.rows])
        together = stump(rows, np.concatenate([source.targets, target.targets]), None)
        gains.append(boosted.score(test, truth) - together.score(test, truth))
        assert boosted.score(test, truth) > 0.85
    assert np.mean(gains) > 0.1
    assert min(gains) > -0.02


@pytest.mark.parametrize("face", [TrAdaBoostR2, TwoStageTrAdaBoostR2])
def test_numbers_from_a_contrary_source(face):
    source, target = numbers(1, 200, 15)
    test = np.random.default_rng(99).normal(size=(300, 2))
    given = source.rows, source.targets, target.rows, target.targets
    model = face(DecisionTreeRegressor(max_depth=4, random_state=0)).fit(*given)
    plain = DecisionTreeRegressor(max_depth=4, random_state=0)
    plain.fit(source.rows, source.targets)
    truth = test @ [1.0, 2]
    assert model.score(test, truth) > plain.score(test, truth)
    last = model.boosted_.last if face is TrAdaBoostR2 else model.found_.model
    np.testing.assert_array_equal(
        model.predict(test), median(last, test.astype(np.float32))
    )


def test_what_does_not_fit_is_refused():
    source, target = numbers()
    with pytest.raises(ValueError, match="rounds is 0"):
        tradaboost_r2(line, source, target, 0)
    with pytest.raises(ValueError, match="stages 1 and rounds 10"):
        two_stage(line, source, target, stages=1)
    with pytest.raises(ValueError, match="two target rows"):
        two_stage(line, source, Side(*(part[:1] for part in target)))
