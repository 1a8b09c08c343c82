import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from tl_jax.metrics import task

RNG = np.random.default_rng(0)
IDS, LABELS = RNG.integers(4, size=60), RNG.integers(4, size=60)
LOGITS = RNG.normal(size=(60, 4))
GUESS, TARGET = RNG.normal(size=40), RNG.normal(size=40)
FLAGS, TRUTH = RNG.integers(2, size=(30, 5)), RNG.integers(2, size=(30, 5))


def test_classification_by_hand():
    guess, truth = [0, 1, 1, 2], [0, 1, 2, 2]
    assert task.accuracy(guess, truth) == 0.75
    np.testing.assert_array_equal(
        task.confusion_matrix(guess, truth, classes=3),
        [[1, 0, 0], [0, 1, 0], [0, 1, 1]],
    )
    assert task.macro_f1(guess, truth) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    want = -(np.log(0.25) + np.log(0.8)) / 2
    assert task.negative_log_likelihood(logits, [1, 2]) == pytest.approx(want)


def test_classification_equals_scikit_learn():
    assert task.accuracy(IDS, LABELS) == sk.accuracy_score(LABELS, IDS)
    assert task.macro_f1(IDS, LABELS) == pytest.approx(
        sk.f1_score(LABELS, IDS, average="macro", zero_division=0)
    )
    np.testing.assert_array_equal(
        task.confusion_matrix(IDS, LABELS, classes=5),
        sk.confusion_matrix(LABELS, IDS, labels=range(5)),
    )
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    assert task.negative_log_likelihood(LOGITS, LABELS) == pytest.approx(
        sk.log_loss(LABELS, p)
    )


def test_absent_classes_follow_scikit_learn():
    guess, truth = np.array([0, 0, 3, 0]), np.array([0, 1, 1, 0])
    for classes, labels in ((None, None), (6, range(6))):
        want = sk.f1_score(
            truth, guess, labels=labels, average="macro", zero_division=0
        )
        assert task.macro_f1(guess, truth, classes=classes) == pytest.approx(want)


def test_logits_stand_for_their_best_class():
    assert task.accuracy(LOGITS, LABELS) == task.accuracy(LOGITS.argmax(1), LABELS)
    assert task.macro_f1(LOGITS, LABELS) == task.macro_f1(LOGITS.argmax(1), LABELS)


def test_shares_of_classes_stand_for_the_largest():
    shares = RNG.dirichlet(np.ones(4), size=60)
    best = shares.argmax(1)
    for predictions in (LOGITS, IDS):
        assert task.accuracy(predictions, shares) == task.accuracy(predictions, best)
    assert task.macro_f1(LOGITS, shares) == task.macro_f1(LOGITS, best)
    with pytest.raises(ValueError, match=r"\(60, 4\), labels \(60, 3\)"):
        task.accuracy(LOGITS, shares[:, :3])


def test_likelihood_of_shares_is_the_mean_over_them():
    shares = RNG.dirichlet(np.ones(4), size=60)
    each = [task.negative_log_likelihoods(LOGITS, np.full(60, c)) for c in range(4)]
    want = (shares.T * each).sum(0)
    got = task.negative_log_likelihoods(LOGITS, shares)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_likelihood_of_huge_logits_is_finite():
    assert task.negative_log_likelihood([[1e6, 0.0]], [1]) == 1e6


def test_regression_by_hand():
    guess, truth = [1.0, 2.0, 4.0], [1.0, 3.0, 2.0]
    assert task.mse(guess, truth) == pytest.approx(5 / 3)
    assert task.mae(guess, truth) == pytest.approx(1.0)
    assert task.r2(guess, truth) == pytest.approx(1 - 5 / 2)
    assert task.pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)


def test_regression_equals_references():
    assert task.mse(GUESS, TARGET) == pytest.approx(
        sk.mean_squared_error(TARGET, GUESS)
    )
    assert task.r2(GUESS, TARGET) == pytest.approx(sk.r2_score(TARGET, GUESS))
    assert task.mae(GUESS[:, None], TARGET) == pytest.approx(
        sk.mean_absolute_error(TARGET, GUESS)
    )
    assert task.pearson(GUESS, TARGET) == pytest.approx(
        stats.pearsonr(GUESS, TARGET).statistic
    )


def test_what_does_not_vary_has_no_correlation():
    assert np.isnan(task.pearson(np.ones(3), [1, 2, 3]))
    assert np.isnan(task.r2([1, 2, 3], np.ones(3)))


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_multilabel_equals_scikit_learn(average):
    want = sk.f1_score(TRUTH, FLAGS, average=average, zero_division=0)
    assert task.multilabel_f1(FLAGS, TRUTH, average=average) == pytest.approx(want)
    logits = np.where(FLAGS, 2.0, -3.0)
    assert task.multilabel_f1(logits, TRUTH, average=average) == pytest.approx(want)


def test_subset_accuracy_wants_every_label():
    assert task.subset_accuracy([[1, 0], [1, 1]], [[1, 0], [1, 0]]) == 0.5
    assert task.subset_accuracy(FLAGS, TRUTH) == sk.accuracy_score(TRUTH, FLAGS)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: task.accuracy([0, 1], [0]), r"\(2,\), labels \(1,\)"),
        (lambda: task.accuracy([], []), "no examples"),
        (lambda: task.mse(np.ones((3, 2)), np.ones(3)), "shape"),
        (lambda: task.confusion_matrix([0, 3], [0, 1], classes=3), "3 of example 1"),
        (lambda: task.macro_f1([0, 3], [0, 1], classes=3), r"not all in 0\.\.2"),
        (lambda: task.negative_log_likelihood([[0.0, 1.0]], [2]), r"outside 0\.\.1"),
        (lambda: task.multilabel_f1([1, 0], [1, 0]), r"expected \[N C\]"),
        (lambda: task.multilabel_f1(FLAGS, TRUTH, average="some"), "'some'"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()
