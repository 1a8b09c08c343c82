import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tl_jax.estimators import LinearProbe, NearestProbe, fit, nearest_votes

DIGITS = (
    "asks for 7 digits, which float32 does not have; "
    "test_a_weight_is_a_number_of_copies asks for 5"
)
ROWS = "k counts rows, and a row of weight 2 is one of them"
CHECK = "check_sample_weight_equivalence_on_dense_data"


def expected(estimator):
    return {CHECK: DIGITS if isinstance(estimator, LinearProbe) else ROWS}


@parametrize_with_checks(
    [LinearProbe(), NearestProbe(k=5)], expected_failed_checks=expected
)
def test_keeps_the_protocol_of_scikit_learn(estimator, check):
    check(estimator)


def letters(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    features = rng.normal(size=(3, 4))[labels] * 2 + rng.normal(size=(60, 4))
    return features.astype(np.float32), np.array(["b", "c", "a"])[labels]


def test_is_fit_with_labels_of_any_kind():
    x, y = letters()
    model = LinearProbe(strengths=(0.1,)).fit(x, y)
    probe = fit(x, np.unique(y, return_inverse=True)[1], classes=3, strengths=(0.1,))
    np.testing.assert_array_equal(model.classes_, ["a", "b", "c"])
    np.testing.assert_allclose(model.coef_, np.asarray(probe.kernel).T, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1.0, rtol=1e-5)
    assert model.score(x, y) == np.mean(model.predict(x) == y) > 0.7


def test_several_strengths_choose_on_held_out_rows_and_fit_on_all():
    x, y = letters()
    model = LinearProbe(strengths=(1e-2, 1.0, 1e3), fraction=0.3).fit(x, y)
    chosen = float(model.probe_.strength)
    again = LinearProbe(strengths=(chosen,)).fit(x, y)
    np.testing.assert_array_equal(model.coef_, again.coef_)
    with pytest.raises(ValueError, match="fraction is 2"):
        LinearProbe(strengths=(1.0, 2.0), fraction=2).fit(x, y)
    with pytest.raises(ValueError, match="no class has two rows"):
        LinearProbe(strengths=(1.0, 2.0)).fit(x[:3], y[:3])


def test_serves_pipelines_searches_and_clones():
    x, y = letters()
    pipe = make_pipeline(StandardScaler(), LinearProbe())
    assert is_classifier(pipe)
    assert cross_val_score(pipe, x, y, cv=3).mean() > 0.7
    grid = {"linearprobe__strengths": [(1e-2,), (1e3,)]}
    search = GridSearchCV(pipe, grid, cv=3).fit(x, y)
    assert search.best_params_["linearprobe__strengths"] in grid.popitem()[1]
    model = LinearProbe(seed=4).fit(x, y)
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "probe_")
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(x), model.predict(x))


@pytest.mark.parametrize("vote", ["plain", "weighted"])
def test_neighbours_are_scikit_learn_s(vote):
    """Its own kNN by cosine, in numbers of votes and in votes by similarity."""
    x, y = letters()
    queries = letters(1)[0]
    own = "uniform" if vote == "plain" else lambda far: np.exp((1 - far) / 0.07)
    peer = KNeighborsClassifier(7, metric="cosine", weights=own).fit(x, y)
    model = NearestProbe(k=7, vote=vote).fit(x, y)
    got, want = model.predict_proba(queries), peer.predict_proba(queries)
    np.testing.assert_allclose(got, want, atol=1e-4)
    np.testing.assert_array_equal(model.predict(queries), peer.predict(queries))
    assert cross_val_score(make_pipeline(StandardScaler(), model), x, y).mean() > 0.7
    votes = nearest_votes(x, model.labels_, queries, classes=3, k=7, vote=vote)
    np.testing.assert_array_equal(got, votes)


def test_unknown_parameters_raise():
    with pytest.raises(ValueError, match="Invalid parameter 'strength'"):
        LinearProbe().set_params(strength=1.0)


def test_scikit_learn_costs_nothing_at_import():
    code = "import sys, tl_jax.estimators; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
