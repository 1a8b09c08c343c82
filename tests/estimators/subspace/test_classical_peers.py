"""What ADAPT and skada compute, as recorded, and skada and POT live."""

import jax
import numpy as np
import pytest
import scipy.linalg
from record_classical import domains, skada

from tl_jax.estimators import subspace


@pytest.fixture(scope="module")
def classical(golden):
    with np.load(golden / "classical.npz") as file:
        return dict(file)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def mapped(alignment, rows):
    return [getattr(alignment, d)(rows[f"new_{d}"]) for d in ("source", "target")]


def check(alignment, rows, peer, atol=1e-8):
    """Both domains' new rows, equal up to one sign a column."""
    got = np.concatenate(mapped(alignment, rows))
    want = np.concatenate([rows[f"{peer}/{d}"] for d in ("source", "target")])
    want = want * np.where((got * want).sum(0) < 0, -1, 1)
    np.testing.assert_allclose(got, want, atol=atol)


def test_coral_is_adapt_s(classical):
    pair = classical["source"], classical["target"]
    check(subspace.coral(*pair, shrinkage=0.1), classical, "adapt/coral")


def skada_s_coral(rows):
    """Ours with skada's divisors, N and M, and its centre, the target's mean."""
    source, target = rows["source"], rows["target"]
    found = subspace.coral(source, target, shrinkage=0.0, means=True)
    ratio = np.sqrt(40 / 39 * 49 / 50)
    one, two = mapped(found, rows)
    mean = target.mean(0)
    got = np.concatenate([(one - mean) * ratio, two - mean])
    want = [rows[f"skada/coral/{domain}"] for domain in ("source", "target")]
    np.testing.assert_allclose(got, np.concatenate(want), atol=1e-8)


def test_coral_is_skada_s_but_for_divisors_and_centre(classical):
    skada_s_coral(classical)


@pytest.mark.parametrize("peer", ["adapt", "skada"])
def test_subspaces_are_theirs(classical, peer):
    pair = classical["source"], classical["target"]
    check(subspace.subspace_alignment(*pair, 3), classical, f"{peer}/sa")


def test_transport_is_skada_s_and_pot_s(classical):
    pair = classical["source"], classical["target"]
    check(subspace.linear_ot(*pair, ridge=0.1), classical, "skada/linear_ot")


def test_augmentation_is_adapt_s_in_another_order(classical):
    found = subspace.augmentation(classical["source"], classical["target"])
    for domain, got in zip(("source", "target"), mapped(found, classical), strict=True):
        shared, *own = np.split(got, 3, axis=1)
        want = classical[f"adapt/fa/{domain}"]
        np.testing.assert_array_equal(np.hstack([*own, shared]), want)


def test_components_solve_what_adapt_s_do_not(classical):
    """The eigenproblem's quotient W^T KHK W against W^T (I + mu K l l^T K) W.

    Both are asked for the three largest; ADAPT's components reach less of it than ours,
    which are SciPy's.
    """
    source, target = classical["source"], classical["target"]
    x = np.concatenate([source, target])
    squares = ((x[:, None] - x) ** 2).sum(-1)
    k = np.exp(-0.05 * squares)
    lever = k @ np.repeat([1 / 40, -1 / 50], [40, 50])
    pull = np.eye(90) + 10 * np.outer(lever, lever)
    spread = k @ (np.eye(90) - 1 / 90) @ k

    def reached(vectors):
        ratio = np.linalg.solve(
            vectors.T @ pull @ vectors, vectors.T @ spread @ vectors
        )
        return np.trace(ratio)

    found = subspace.tca(source, target, 3, mu=0.1, gamma=0.05)
    most = scipy.linalg.eigh(spread, pull)[0][-3:].sum()
    np.testing.assert_allclose(reached(found.source.coefficients), most, rtol=1e-9)
    assert reached(classical["adapt/tca/vectors"]) < 0.99 * most


@pytest.mark.parity
def test_skada_live():
    pytest.importorskip("skada", reason="needs skada and POT (pip install skada POT)")
    rows = domains(seed=1)
    rows |= skada(rows)
    pair = rows["source"], rows["target"]
    check(subspace.subspace_alignment(*pair, 3), rows, "skada/sa")
    check(subspace.linear_ot(*pair, ridge=0.1), rows, "skada/linear_ot")
    skada_s_coral(rows)
