"""Figures of domains from plain arrays: what they hold, and the same bytes twice."""

import numpy as np
import pytest

from experiments import domains_figure
from experiments.distance_figure import bounds, distances
from experiments.domains_figure import Cloud, domains, pca, thinned, tsne
from experiments.selectors_figure import selectors
from tl_jax.metrics.bound import Bound, Term
from tl_jax.metrics.divergence import Distance

RNG = np.random.default_rng(0)
IDS = np.arange(40) % 3
CLOUD = Cloud(
    RNG.normal(size=(40, 5)) + IDS[:, None],
    RNG.normal(size=(30, 5)) + 2,
    IDS,
    np.arange(30) % 3,
)
CLASSES = ("a", "b", "c")


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_same_bytes_twice(method):
    clouds = {"before": CLOUD, "after": CLOUD._replace(target=CLOUD.source[:30])}
    one, two = (domains(clouds, CLASSES, method=method) for _ in range(2))
    assert one.png == two.png
    assert one.file == f"domains_{method}.png"
    moved = {"before": CLOUD._replace(source=CLOUD.source[::-1]), "after": CLOUD}
    assert domains(moved, CLASSES, method=method).png != one.png


def test_distances_stand_in_titles_and_words():
    found = domains({"x": CLOUD}, CLASSES, distances={"x": 1.25}, names=("near", "far"))
    assert found.alt == "Features of near and far: x, distance 1.25"
    assert found.png != domains({"x": CLOUD}, CLASSES, names=("near", "far")).png


def test_pca_is_numpys():
    """Up to signs, which the largest entry of an axis decides."""
    found = pca(CLOUD.source, 0)
    values, axes = np.linalg.eigh(np.cov(CLOUD.source, rowvar=False))
    top = axes[:, np.argsort(-values)[:2]]
    want = (CLOUD.source - CLOUD.source.mean(0)) @ top
    want *= np.sign(top[np.abs(top).argmax(0), [0, 1]])
    np.testing.assert_allclose(found, want, atol=1e-10)
    assert pca(CLOUD.source[:, :1], 0).shape == (40, 2)


def test_tsne_keeps_far_groups_apart():
    rows = np.concatenate([RNG.normal(size=(20, 4)), RNG.normal(size=(20, 4)) + 30])
    found = tsne(rows, 0)
    apart = ((found[:, None] - found) ** 2).sum(-1)
    np.fill_diagonal(apart, np.inf)
    assert ((apart.argmin(1) < 20) == (np.arange(40) < 20)).all()


def test_thinned_keeps_distances(monkeypatch):
    """All principal components of few columns: a turn, so lengths stay."""
    few = thinned(CLOUD)
    both = np.concatenate([CLOUD.source, CLOUD.target])
    turned = np.concatenate([few.source, few.target]).astype(np.float64)
    for at in (0, 50):
        want = np.linalg.norm(both - both[at], axis=1)
        np.testing.assert_allclose(
            np.linalg.norm(turned - turned[at], axis=1), want, atol=1e-4
        )
    monkeypatch.setattr(domains_figure, "ROWS", 12)
    assert [len(part) for part in thinned(CLOUD)] == [12, 12, 12, 12]


def test_a_cloud_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="method is 'som', expected one of pca, tsne"):
        domains({"x": CLOUD}, CLASSES, method="som")
    with pytest.raises(ValueError, match=r"x: source features.*\(39,\)"):
        domains({"x": CLOUD._replace(source_labels=IDS[:39])}, CLASSES)
    fewer = CLOUD._replace(source_labels=IDS % 2)
    with pytest.raises(ValueError, match="x: target has class 2, expected 0..1"):
        domains({"x": fewer}, CLASSES[:2])
    with pytest.raises(ValueError, match="no model"):
        domains({}, CLASSES)


def test_umap_says_what_to_install():
    if domains_figure.importlib.util.find_spec("umap") is not None:
        pytest.skip("umap-learn is installed")
    with pytest.raises(ModuleNotFoundError, match="pip install umap-learn"):
        domains({"x": CLOUD}, CLASSES, method="umap")


UP = {"bnm": True, "dev": False}
TRUTH = [0.5, 0.7, 0.6]


def test_selectors_say_their_correlation():
    scores = {"bnm": [1, 3, 2], "dev": [1, 3, 2]}
    found = selectors(scores, TRUTH, ["a", "b", "c"], higher_is_better=UP)
    assert found.alt.startswith("BNM ρ 1.00")
    assert "DEV ρ -1.00" in found.alt
    again = selectors(scores, TRUTH, ["a", "b", "c"], higher_is_better=UP)
    assert again.png == found.png
    warned = selectors(scores, TRUTH, list("abc"), higher_is_better=UP, warning="Mind.")
    assert warned.caption.endswith("models. Mind.")


def test_nothing_to_rank_draws_nothing():
    assert selectors({"bnm": [1]}, [0.5], ["a"], higher_is_better=UP) is None
    flawed = {"bnm": [1, np.nan, 2]}
    assert selectors(flawed, TRUTH, list("abc"), higher_is_better=UP) is None
    flat = selectors({"bnm": [1, 1, 1]}, TRUTH, list("abc"), higher_is_better=UP)
    assert flat.alt == "BNM says nothing"


def far(value):
    rows, ends = (9, 9), (value - 0.1, value + 0.1)
    return Distance(value, *ends, (0.1, 0.2), rows, (1.0,), "linear", 5)


def test_distances_before_and_after():
    found = distances({"dann": far(0.4), "mmd": far(0.9)}, far(1.5))
    assert found.alt == "dann 0.40; mmd 0.90"
    assert "before adaptation" in found.caption
    alone = distances({"dann": far(0.4), "mmd": far(0.9)})
    assert "before adaptation" not in alone.caption
    assert distances({}) is None


def test_a_bound_that_is_unknown_stays_open():
    term = Term(0.2, 0.1, 0.3, 0.0, 1.0, "by hand")
    known = Bound(term, term, term, term, 0.6, "")
    closed = known._replace(ideal=None, target=None, total=None)
    found = bounds({"open": known, "closed": closed})
    assert found.alt == "open 0.60; closed 0.40 and what is unknown"
    assert found.png == bounds({"open": known, "closed": closed}).png
    assert bounds({}) is None
