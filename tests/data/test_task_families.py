"""Made tasks: they follow their parameters, their ranges and their seed."""

from functools import cache

import jax
import numpy as np
import pytest
from chances import same
from scipy import stats

from tl_jax.data import gaussian_process, harmonic, linear, sinusoid, task_numbers

FAMILIES = (sinusoid, linear, harmonic, gaussian_process)


def drawn(made, count=200, seed=3):
    """(batch, parameters) of tasks 0 to count."""
    task = task_numbers(count, seed).at(0)["task"]
    return jax.tree.map(np.asarray, compiled(made)({}, task))


@cache
def compiled(made):
    return jax.jit(lambda data, task: (made(data, task), made.parameters(data, task)))


def formula(family, own, x):
    """y [K B 1] in NumPy, of parameters [K ...]."""
    own = {name: value.astype(np.float64) for name, value in own.items()}
    if family is sinusoid:
        return own["amplitude"][:, None, None] * np.sin(x - own["phase"][:, None, None])
    if family is linear:
        return own["slope"][:, None, None] * x + own["intercept"][:, None, None]
    total = 0
    for i in range(2):
        angle = (i + 1) * own["frequency"][:, None, None] * x
        angle = angle + own["phase"][:, i, None, None]
        total = total + own["amplitude"][:, i, None, None] * np.sin(angle)
    return total


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_labels_are_the_formula_of_the_parameters(family):
    batch, own = drawn(family(5, 7, noise=0.0))
    for stream, rows in ((batch["support"], 5), (batch["query"], 7)):
        x = stream["inputs"]["features"]
        assert x.shape == stream["labels"].shape == (200, rows, 1)
        np.testing.assert_allclose(stream["labels"], formula(family, own, x), atol=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_is_told_what_sets_its_task_apart(family):
    """The parameters by name, one after another; the process's draw is not told."""
    made = family(3, 4)
    batch, own = drawn(made, 5)
    told = [own[name].reshape(5, -1) for name in made.told]
    assert set(made.told) == set(own) - {"normal"}
    for side, rows in (("support", 3), ("query", 4)):
        found = batch[side]["inputs"]["told"]
        assert found.shape == (5, rows, sum(x.shape[1] for x in told))
        wanted = np.broadcast_to(np.concatenate(told, 1)[:, None], found.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_parameters_and_inputs_are_uniform_in_their_ranges():
    batch, own = drawn(sinusoid(5, 7), 2000)
    x = np.concatenate([s["inputs"]["features"].ravel() for s in batch.values()])
    ranges = (x, -5, 5), (own["amplitude"], 0.1, 5), (own["phase"], 0, np.pi)
    for values, low, high in ranges:
        law = stats.uniform(low, high - low).cdf
        assert stats.kstest(values, law).pvalue > 1e-3
    assert abs(np.corrcoef(own["amplitude"], own["phase"])[0, 1]) < 0.08


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_is_a_function_of_seed_and_number(family):
    made = family(3, 4)
    batch, _ = drawn(made, 6)
    turned = np.array([4, 1, 0, 0, 5, 2], np.int32)
    task = {"index": turned, "weight": np.ones(6, np.float32)}
    part, _ = compiled(made)({"seed": np.uint32(3)}, task)  # the resident's seed
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[turned], rtol=1e-5, atol=1e-5),
        part,
        batch,
    )
    other, _ = drawn(made, 6, seed=4)
    assert not np.allclose(other["query"]["labels"], batch["query"]["labels"])
    assert not np.allclose(*batch["query"]["labels"][:2])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_grid_shows_the_same_task_without_noise(family):
    noisy, own = drawn(family(3, 9, noise=0.5), 4)
    plain, also = drawn(family(3, 9, noise=0.5, grid=True), 4)
    same(noisy["support"]["inputs"], plain["support"]["inputs"])
    same(own, also)
    x = plain["query"]["inputs"]["features"][..., 0]
    np.testing.assert_allclose(np.diff(x, 2), 0, atol=2e-6)
    assert (np.diff(x) > 0).all()
    if family is not gaussian_process:
        wanted = formula(family, own, x[..., None])
        np.testing.assert_allclose(plain["query"]["labels"], wanted, atol=2e-4)
        clean = formula(family, own, noisy["query"]["inputs"]["features"])
        assert 0.2 < (noisy["query"]["labels"] - clean).std() < 0.9


def test_processes_have_the_kernel_as_covariance():
    """On a grid, with one length and height: means of products over tasks."""
    made = gaussian_process(1, 5, lengths=(0.8, 0.8), heights=(2, 2), grid=True)
    batch, own = drawn(made, 8000)
    y = batch["query"]["labels"][..., 0]
    x = batch["query"]["inputs"]["features"][0, :, 0]
    wanted = 4 * np.exp(-(((x[:, None] - x) / 0.8) ** 2) / 2)
    np.testing.assert_allclose(y.T @ y / len(y), wanted, atol=0.2)
    np.testing.assert_allclose(own["length"], 0.8)
    smooth, own = drawn(gaussian_process(50, 100, lengths=(0.6, 0.6)), 50)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(smooth))
    assert own["normal"].shape == (50, 150, 1)


def test_padding_has_weight_0():
    task = {"index": np.array([0, -1]), "weight": np.array([1.0, 0.0], np.float32)}
    batch = sinusoid(2, 3)({}, task)
    assert batch["query"]["weight"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert batch["query"]["index"].tolist() == [[0, 1, 2], [-1, -1, -1]]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: sinusoid(0), "shots is 0, expected 1"),
        (lambda: linear(5, 0), "queries is 0"),
        (lambda: harmonic(noise=-1.0), "noise is -1.0"),
        (lambda: gaussian_process(lengths=(0, 1)), "lengths is .* 0 < low <= high"),
        (lambda: gaussian_process(jitter=0), "jitter is 0"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
