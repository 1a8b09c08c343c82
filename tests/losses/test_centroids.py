"""Labels by centroids: the authors' own, a loop, padding, empty classes."""

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.losses.centroids import centroid_labels


def loop(features, shares, rounds=1):
    rows = []
    for f in np.asarray(features, np.float64):
        row = [*f, 1.0]
        length = sum(v * v for v in row) ** 0.5
        rows.append([v / length for v in row])
    believed = np.asarray(shares, np.float64)
    for _ in range(rounds + 1):
        labels = []
        for row in rows:
            best, near = None, -np.inf
            for c in range(believed.shape[1]):
                total = believed[:, c].sum()
                if total == 0:
                    continue
                centre = sum(
                    b * np.array(r) for b, r in zip(believed[:, c], rows, strict=True)
                )
                cosine = np.dot(row, centre) / np.linalg.norm(centre)
                if cosine > near:
                    best, near = c, cosine
            labels.append(best)
        believed = np.eye(believed.shape[1])[labels]
    return labels


def test_labels_are_those_of_the_authors(golden):
    with np.load(golden / "test_time.npz") as file:
        features, logits = file["shot/features"], file["shot/logits"]
        wanted = file["shot/labels"]
    got = jax.jit(centroid_labels)(features, jax.nn.softmax(logits), jnp.ones(40))
    np.testing.assert_array_equal(got, wanted)
    assert (np.asarray(got) != logits.argmax(1)).sum() > 5


def test_labels_are_a_loop_and_padding_has_none():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(9, 3)).astype(np.float32)
    shares = rng.dirichlet(np.ones(4), 9).astype(np.float32)
    shares[:, 2] = 0  # a class that nobody believes in
    for rounds in (0, 1, 3):
        want = loop(features, shares, rounds)
        got = centroid_labels(features, shares, jnp.ones(9), rounds)
        np.testing.assert_array_equal(got, want)
        wild = np.concatenate([features, np.full((2, 3), np.nan, np.float32)])
        more = np.concatenate([shares, np.full((2, 4), np.nan, np.float32)])
        weight = jnp.asarray([1.0] * 9 + [0] * 2)
        got = centroid_labels(wild, more, weight, rounds)
        np.testing.assert_array_equal(got, [*want, -1, -1])
    assert 2 not in want
