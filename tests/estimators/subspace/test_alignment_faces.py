"""The faces: scikit-learn's protocol, with and without a target, and what they find."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from tl_jax.estimators import LinearProbe, subspace
from tl_jax.tree import NoMatch

DIGITS = {
    "check_sample_weight_equivalence_on_dense_data": "asks for 7 digits, which float32 "
    "does not have; test_weights_are_numbers_of_copies asks for 4"
}
FACES = {
    "coral": subspace.CORAL(shrinkage=0.01),
    "linear_ot": subspace.LinearOT(),
    "subspace_alignment": subspace.SubspaceAlignment(dimension=2),
    "tca": subspace.TCA(dimension=2, mu=0.1),
}


class Itself(subspace.CORAL):
    """CORAL whose target is always the source: the aligned path under all checks."""

    def fit(self, X, y, sample_weight=None):
        given = dict(sample_weight=sample_weight, target_weight=sample_weight)
        return super().fit(X, y, X_target=X, **given)

    def fit_transform(self, X, y):
        return self.fit(X, y).transform(X, "source")


@parametrize_with_checks(
    [subspace.CORAL(), subspace.SubspaceAlignment(GaussianNB()), Itself()],
    expected_failed_checks=lambda face: {} if face.estimator else DIGITS,
)
def test_keeps_the_protocol_of_scikit_learn(estimator, check):
    check(estimator)


def shifted(seed=0, rows=120):
    """Two classes; target rows are stretched along a diagonal and moved."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    x = rng.normal(size=(2, rows, 2)) * (0.4, 1.0)
    x[..., 0] += 2.0 * y - 1
    stretch = np.array([[2.0, 1.5], [1.5, 2.0]])
    return x[0], np.array(["no", "yes"])[y], x[1] @ stretch + 3


@pytest.mark.parametrize("name", FACES)
def test_without_a_target_it_is_the_base(name):
    X, y, _ = shifted()
    X = X.astype(np.float32)
    base = LogisticRegression().fit(X, y)
    face = clone(FACES[name]).set_params(estimator=LogisticRegression()).fit(X, y)
    np.testing.assert_array_equal(face.predict_proba(X), base.predict_proba(X))
    np.testing.assert_array_equal(face.transform(X), X)


@pytest.mark.parametrize("name", ["coral", "linear_ot"])
def test_a_stretched_target_is_told_apart(name):
    """The truth of the target's rows is known here, and to nobody else."""
    X, y, X_target = shifted()
    face = FACES[name]
    if name == "coral":
        face = clone(face).set_params(means=True)
    alone = np.mean(clone(face).fit(X, y).predict(X_target) == y)
    aligned = clone(face).fit(X, y, X_target=X_target)
    assert np.mean(aligned.predict(X_target) == y) > 0.93 > 0.8 > alone
    assert aligned.score(X_target, y) == np.mean(aligned.predict(X_target) == y)
    assert np.mean(aligned.predict(X, domain="source") == y) > 0.93


@pytest.mark.parametrize("name", FACES)
def test_what_is_predicted_is_the_base_on_mapped_rows(name):
    X, y, X_target = shifted()
    face = clone(FACES[name]).fit(X, y, X_target=X_target)
    rows = face.fit_transform(X, y, X_target=X_target)
    np.testing.assert_array_equal(rows, face.transform(X, "source"))
    base = LinearProbe().fit(rows, y)
    want = base.predict_proba(face.transform(X_target))
    np.testing.assert_allclose(face.predict_proba(X_target), want, atol=1e-6)
    copy = pickle.loads(pickle.dumps(face))
    np.testing.assert_array_equal(copy.predict_proba(X), face.predict_proba(X))


@pytest.mark.parametrize("name", FACES)
def test_weights_are_numbers_of_copies(name):
    """Of the source and of the target; CORAL's unbiased divisors differ a little."""
    X, y, X_target = shifted()
    copies = np.random.default_rng(0).integers(0, 3, (2, len(X)))
    weights = dict(sample_weight=copies[0], target_weight=copies[1])
    weighed = clone(FACES[name]).fit(X, y, X_target=X_target, **weights)
    rows, labels = np.repeat(X, copies[0], 0), np.repeat(y, copies[0])
    copied = clone(FACES[name]).fit(rows, labels, np.repeat(X_target, copies[1], 0))
    got, want = (face.predict_proba(X_target) for face in (weighed, copied))
    np.testing.assert_allclose(got, want, atol=1e-2 if name == "coral" else 1e-4)


def test_labelled_targets_train_shared_and_own_weights():
    """Opposite labels in the two domains: only features of each domain can say both."""
    X, y, _ = shifted()
    X_target, y_target = X + 0.01, np.where(y == "yes", "no", "yes")
    face = subspace.FeatureAugmentation(LogisticRegression())
    face.fit(X, y, X_target=X_target, y_target=y_target)
    assert np.mean(face.predict(X, domain="source") == y) > 0.95
    assert np.mean(face.predict(X_target) == y_target) > 0.95
    assert face.transform(X).shape == (120, 6)
    pooled = subspace.CORAL(LogisticRegression(), shrinkage=100)
    pooled.fit(X, y, X_target=X_target, y_target=y_target)
    assert np.mean(pooled.predict(X_target) == y_target) < 0.8


def test_subspaces_choose_their_dimension_on_the_source():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = rng.normal(size=(80, 6)) * (5, 4, 1, 0.5, 0.5, 0.5)
    X[:, 2] += 6 * y
    face = subspace.SubspaceAlignment(GaussianNB())
    face.fit(X, y, X_target=X[::-1] + 1)
    assert face.dimension_ in (4, 6)  # the third direction tells them apart
    assert clone(face).set_params(dimension=1).fit(X, y, X).dimension_ == 1


def test_searches_reach_the_method_and_its_base():
    X, y, X_target = shifted()
    face = subspace.CORAL(LogisticRegression())
    grid = {"shrinkage": [0.01, 1.0], "estimator__C": [0.01, 10.0]}
    search = GridSearchCV(face, grid, cv=2).fit(X, y, X_target=X_target)
    assert set(search.best_params_) == set(grid)
    assert face.get_params()["estimator__C"] == 1.0
    with pytest.raises(ValueError, match="Invalid parameter 'estimator__C'"):
        subspace.CORAL().set_params(estimator__C=1.0)


def test_it_has_the_methods_of_its_base():
    assert not hasattr(subspace.CORAL(LinearSVC()), "predict_proba")
    assert hasattr(subspace.CORAL(LinearSVC()), "decision_function")
    assert not hasattr(subspace.CORAL(GaussianNB()), "decision_function")


@pytest.mark.parametrize(
    "given, message",
    [
        ({"X_target": np.ones((4, 3))}, "X_target has 3 features, X has 2"),
        ({"X_target": np.full((4, 2), np.nan)}, "X_target contains NaN"),
        ({"X_target": np.ones((4, 2)), "y_target": ["no"]}, "1 y_target for 4 rows"),
        (
            {"X_target": np.ones((2, 2)), "y_target": ["no", "maybe"]},
            "y_target holds 'maybe', which y lacks",
        ),
        ({"y_target": ["no"]}, "need X_target"),
    ],
)
def test_targets_that_do_not_fit_are_named(given, message):
    X, y, _ = shifted()
    with pytest.raises(ValueError, match=message):
        subspace.CORAL().fit(X, y, **given)


def test_what_needs_target_labels_and_unknown_domains_say_so():
    X, y, X_target = shifted()
    with pytest.raises(ValueError, match="learns from target labels: give"):
        subspace.FeatureAugmentation().fit(X, y, X_target=X_target)
    with pytest.raises(NoMatch, match="'tgt' matches nothing; nearest: target"):
        subspace.CORAL().fit(X, y).transform(X, "tgt")
