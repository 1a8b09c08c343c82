"""Tasks: losses, weights, decisions and metrics by hand."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.evaluate import predict_all, score
from experiments.tasks import TASKS, TEXTS, make_task
from tl_jax.types import Outputs

NAMES = ("a", "b", "c")


def outputs(logits):
    return Outputs(jnp.zeros((len(logits), 1)), jnp.asarray(logits, jnp.float32))


def test_balanced_weights_are_inverse_to_counts():
    labels = np.asarray([0, 0, 0, 0, 1, 2])
    task = make_task("classification", NAMES, class_weights="balanced", labels=labels)
    stream = {
        "labels": jnp.asarray([0, 1, 2, 2]),
        "weight": jnp.asarray([1.0, 1, 1, 0]),
    }
    np.testing.assert_allclose(task.weigh(stream), [0.5, 2, 2, 0])
    mixed = jnp.asarray([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75], [1, 0, 0]])
    np.testing.assert_allclose(
        task.weigh(stream | {"labels": mixed}), [0.5, 1.25, 2, 0]
    )


def test_smoothing_moves_the_target_towards_even():
    logits, labels = np.asarray([[2.0, 0, -1]]), jnp.asarray([0])
    plain, smooth = (
        float(
            make_task("classification", NAMES, smoothing=s).loss(
                outputs(logits), {"labels": labels}
            )[0]
        )
        for s in (0.0, 0.3)
    )
    log_p = logits[0] - np.log(np.exp(logits[0]).sum())
    assert plain == pytest.approx(-log_p[0], rel=1e-5)
    assert smooth == pytest.approx(-0.7 * log_p[0] - 0.3 * log_p.mean(), rel=1e-5)


def test_the_best_span_is_that_of_a_double_loop():
    logits = np.random.default_rng(0).normal(size=(40, 7, 2))
    task = make_task("span", ())
    for row, found in zip(logits, task.decide(logits), strict=True):
        pairs = [(i, j) for i, j in itertools.product(range(7), repeat=2) if i <= j]
        best = max(pairs, key=lambda pair: row[pair[0], 0] + row[pair[1], 1])
        assert tuple(found) == best


def test_span_metrics_by_hand():
    logits = np.full((2, 5, 2), -9.0)
    logits[0, 1, 0] = logits[0, 2, 1] = 9  # says 1..2
    logits[1, 0, 0] = logits[1, 3, 1] = 9  # says 0..3
    task, labels = make_task("span", ()), np.asarray([[1, 2], [2, 3]])
    assert task.metrics["exact_match"](logits, labels) == 0.5
    # 2 shared tokens of 4 said and 2 real: 2 * 2 / 6
    assert task.metrics["token_f1"](logits, labels) == pytest.approx((1 + 2 / 3) / 2)


def test_words_are_scored_where_they_begin():
    task = make_task("tokens", ("B-x", "I-x", "O"))
    labels = np.asarray([[-100, 0, -100, 1, 2, -100]])
    logits = np.full((1, 6, 3), -5.0)
    logits[0, np.arange(6), [2, 0, 2, 1, 2, 0]] = 5
    assert task.metrics["entity_f1"](logits, labels) == 1
    assert task.metrics["accuracy"](logits, labels) == 1
    assert task.metrics["loss"](logits, labels) < 1e-3
    stream = {"labels": jnp.asarray(labels), "weight": jnp.ones(1)}
    np.testing.assert_array_equal(task.weigh(stream), [3])


def test_padding_is_never_an_answer():
    """Logits in the padding of a batch are whatever the model makes of it."""
    mask = np.asarray([[1, 1, 1, 0], [1, 1, 1, 1]], bool)
    logits = np.zeros((2, 4, 2), np.float32)
    logits[:, 3] = 100
    stream = {
        "inputs": {"mask": mask},
        "weight": np.ones(2),
        "index": np.asarray([1, 0]),
    }
    found = predict_all(lambda stream: (logits, stream), [stream])
    chosen = make_task("span", ()).decide(found.logits)
    assert chosen[0].tolist() == [3, 3]  # row 0 stands second in the batch
    assert chosen[1].max() < 3


@pytest.mark.parametrize(
    "name, logits, labels, wanted",
    [
        ("regression", [[1.0], [2], [4]], [1.0, 2, 3], {"mae": 1 / 3, "loss": 1 / 3}),
        ("multilabel", [[1.0, -1, 1]], [[1, 0, 0]], {"accuracy": 0, "micro_f1": 2 / 3}),
        ("classification", [[3.0, 1, 0], [0, 1, 2]], [0, 1], {"accuracy": 0.5}),
    ],
)
def test_metrics_by_hand(name, logits, labels, wanted):
    task = make_task(name, () if name == "regression" else NAMES)
    from experiments.evaluate import Predicted

    rows = np.arange(len(labels))
    found = score(task, Predicted(rows, np.asarray(logits), np.asarray(labels)))
    for metric, value in wanted.items():
        assert found[metric] == pytest.approx(value), metric


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"classification", *TEXTS}))
def test_what_belongs_to_classification_alone(name):
    with pytest.raises(ValueError, match="belong to classification"):
        make_task(name, NAMES, smoothing=0.1)
