"""Confusion, diversity, information and rank of predictions against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.losses import class_confusion, diversity, information_loss, nuclear_norm

WEIGHT = np.array([1, 2, 0.5, 1, 0, 0])
SINGLE = {
    "confusion": class_confusion,
    "diversity": diversity,
    "information": information_loss,
    "rank": nuclear_norm,
}


def drawn(rows=6, classes=4, seed=0, scale=2.0):
    made = np.random.default_rng(seed).normal(0, scale, (rows, classes))
    return made.astype(np.float32)


def softmax(row, temperature=1.0):
    e = np.exp((np.float64(row) - row.max()) / temperature)
    return e / e.sum()


def entropy(p):
    return -sum(x * np.log(x) for x in p if x > 0)


def confusion_by_loops(logits, weight, temperature):
    rows = [softmax(row, temperature) for row in logits]
    classes = logits.shape[1]
    together = np.zeros((classes, classes))
    for p, w in zip(rows, weight, strict=True):
        for j in range(classes):
            for k in range(classes):
                together[j, k] += w * (1 + np.exp(-entropy(p))) * p[j] * p[k]
    off = 0.0
    for j in range(classes):
        off += sum(together[j, k] for k in range(classes) if k != j) / sum(together[j])
    return off / classes


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_class_confusion_is_that_of_loops(temperature, weight):
    logits, counted = drawn(), np.ones(6) if weight is None else weight
    wanted = confusion_by_loops(logits, counted, temperature)
    found = class_confusion(logits, weight, temperature)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_class_confusion_is_0_for_sure_rows_and_most_for_even_ones():
    sure = 100 * np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(class_confusion(sure, temperature=1.0), 0, atol=1e-6)
    np.testing.assert_allclose(class_confusion(0 * sure), 3 / 4, rtol=1e-6)


def test_classes_that_nobody_says_confuse_nobody():
    """Shares that underflow to 0; the others still count over all classes."""
    logits = jnp.asarray([[0.0, 0.0, -300.0], [0.0, 0.0, -300.0]])
    value, slope = jax.value_and_grad(lambda x: class_confusion(x, temperature=1.0))(
        logits
    )
    np.testing.assert_allclose(value, (1 / 2 + 1 / 2 + 0) / 3, rtol=1e-6)
    assert jnp.isfinite(slope).all()


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_diversity_and_information_are_those_of_loops(weight):
    logits, counted = drawn(), np.ones(6) if weight is None else weight
    rows = [softmax(row) for row in logits]
    mean = np.average(rows, axis=0, weights=counted)
    own = np.average([entropy(p) for p in rows], weights=counted)
    np.testing.assert_allclose(diversity(logits, weight), -entropy(mean), rtol=1e-5)
    found = information_loss(logits, weight)
    np.testing.assert_allclose(found, own - entropy(mean), rtol=1e-5)


def test_information_has_its_bounds():
    """-log C for sure rows of all classes, 0 where all rows say one thing."""
    sure = 100 * np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(information_loss(sure), -np.log(4), rtol=1e-5)
    same = np.repeat(drawn(1), 5, axis=0)
    np.testing.assert_allclose(information_loss(same), 0, atol=1e-6)


@pytest.mark.parametrize("rows", [3, 6])
def test_the_nuclear_norm_is_the_trace_of_a_root(rows):
    """sum of square roots of the eigenvalues of P^T P, over the rows that count."""
    logits = drawn(rows)
    weight = np.ones(rows)
    weight[-1] = 0
    p = np.stack([softmax(row) for row in logits])[:-1]
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(p @ p.T), 0))
    found = nuclear_norm(logits, weight)
    np.testing.assert_allclose(found, -values.sum() / (rows - 1), rtol=1e-5)


def test_rows_alike_have_a_finite_slope():
    """One singular value only: the others are 0 up to rounding and have none."""
    same = jnp.repeat(jnp.asarray(drawn(1)), 5, axis=0)
    slope = jax.grad(nuclear_norm)(same)
    assert jnp.isfinite(slope).all()
    np.testing.assert_allclose(slope, jnp.broadcast_to(slope[:1], slope.shape), 1e-3)


@pytest.mark.parametrize("name", SINGLE)
def test_padding_changes_nothing(name):
    loss, logits, weight = SINGLE[name], drawn(), jnp.asarray([1.0] * 4 + [0] * 2)
    wild = jnp.asarray(logits).at[4:].set(1e4)
    value, slope = jax.value_and_grad(loss)(wild, weight)
    np.testing.assert_allclose(value, loss(logits[:4]), rtol=1e-5)
    np.testing.assert_allclose(slope[:4], jax.grad(loss)(logits[:4]), atol=1e-6)
    np.testing.assert_array_equal(slope[4:], 0)


@pytest.mark.parametrize("name", SINGLE)
def test_slopes_are_those_of_differences_alone_and_in_a_batch(name):
    """And compiled as not, vmapped as one by one."""
    loss, logits = SINGLE[name], jnp.asarray(drawn(scale=1.0))
    along = jnp.asarray(drawn(seed=1, scale=1.0))

    def line(t):
        return loss(logits + t * along)

    if name == "confusion":  # its weights have no slope, so hold them
        logits = jnp.zeros_like(logits)
    slope = jax.jit(jax.grad(line))(0.0)
    by_differences = (line(1e-2) - line(-1e-2)) / 2e-2
    np.testing.assert_allclose(slope, by_differences, rtol=1e-2, atol=2e-4)
    both = jnp.stack([logits, along])
    singly = [loss(x) for x in both]
    np.testing.assert_allclose(jax.vmap(loss)(both), singly, rtol=1e-5)


@pytest.mark.parametrize("loss", [class_confusion, diversity, information_loss])
def test_a_temperature_is_above_0(loss):
    with pytest.raises(ValueError, match="temperature is 0"):
        loss(drawn(), temperature=0)


def test_one_weight_a_row():
    with pytest.raises(AssertionError, match="shape"):
        class_confusion(drawn(), np.ones(5))
