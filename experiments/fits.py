"""Phases that fit the head by an estimator instead of steps."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import predict_all
from experiments.problem import Problem
from experiments.programs import applying, over_streams
from tl_jax import data, estimators
from tl_jax.distribute import place
from tl_jax.estimators.linear_probe import STRENGTHS
from tl_jax.transfer import set_head
from tl_jax.transfer.tuning import SOURCE
from tl_jax.types import Outputs, Plan

Set = tuple[np.ndarray, np.ndarray]
"""Features [N D] and labels [N ...]."""


def features_of(problem: Problem, plan: Plan, rows: np.ndarray) -> Set:
    """What the head reads of rows under a plan's weights, and labels.

    Features [N D] of examples, or of all words that have a label.
    """

    def read(outputs: Outputs) -> Any:
        return outputs.tokens if problem.task.over == "tokens" else outputs.features

    program = applying(problem.base.model, problem.layout, read)
    params, stats = place(problem.layout, (plan.params, plan.stats))
    predict = over_streams(
        problem.layout, lambda inputs: program(params, stats, inputs)
    )
    found = predict_all(predict, problem.streams(rows))
    if problem.task.over != "tokens":
        return found.logits, found.labels
    shown = found.labels != -100
    return found.logits[shown], found.labels[shown]


def fit_head(
    name: str, problem: Problem, plan: Plan, rows: data.Splits, seed: int = 0
) -> Plan:
    """The plan with its head fitted on features of the training rows.

    Rows count by their importance, where the problem has any for that seed.

    The strength of the penalty is chosen on validation, by `ridge` by leaving one
    training example out. Numbers are fitted by a ridge whatever `name` is, several
    labels one by one.
    """
    train = features_of(problem, plan, rows["train"])
    counts = problem.importance(np.sort(rows["train"]), seed)
    if name == "ridge":
        fitted = _closed_form(problem, train, counts)
        kernel, bias = fitted.kernel, fitted.bias
        return _with_head(problem, plan, kernel, bias)
    held = features_of(problem, plan, rows["validation"])
    if problem.task.name == "regression":
        fitted = estimators.ridge(*train, STRENGTHS, held, weight=counts)
        kernel, bias = fitted.kernel, fitted.bias
    elif problem.task.name == "multilabel":
        kernel, bias = _one_by_one(train, held)
    else:
        kernel, bias = _several(problem, train, held, counts)
    return _with_head(problem, plan, kernel, bias)


def measured(
    fits: Iterable[tuple[str, Mapping[str, Any]]],
    problem: Problem,
    plan: Plan,
    rows: data.Splits,
) -> Plan:
    """The plan with what each of `MEASURES` finds on the training rows."""
    for name, own in fits:
        plan = MEASURES[name](problem, plan, rows, **own)
    return plan


def relation(
    problem: Problem, plan: Plan, rows: data.Splits, *, temperature: float
) -> Plan:
    """The kept head's p(source class | class), of the training rows (You et al., 2020).

    Its logits are divided by `temperature`, which calibrates them.
    """
    site = plan.params[SOURCE]
    features, labels = features_of(problem, plan, rows["train"])
    found = estimators.category_relation(
        features @ np.asarray(site["kernel"]) + np.asarray(site["bias"]),
        labels,
        classes=len(problem.classes),
        temperature=temperature,
    )
    own = {**site, "relation": found}
    return plan._replace(params={**plan.params, SOURCE: own})


MEASURES = {"relation": relation}
"""What penalties ask for by name: (problem, plan, rows, arguments) -> plan."""


def _with_head(problem: Problem, plan: Plan, kernel: Any, bias: Any) -> Plan:
    kernel = jnp.asarray(kernel).reshape(-1, problem.outputs)
    bias = jnp.asarray(bias).reshape(problem.outputs)
    return set_head(kernel, bias)(jax.random.key(0), plan)


def _closed_form(problem: Problem, train: Set, counts: np.ndarray | None) -> Any:
    """Least squares of numbers, or of -1 and 1 for each class, by leave-one-out."""
    features, labels = train
    if problem.task.name == "regression":
        return estimators.ridge(features, labels, STRENGTHS, weight=counts)
    classes = len(problem.classes)
    if problem.task.name != "multilabel":
        labels = np.eye(classes, dtype=np.float32)[labels]
    weight = counts
    if problem.task.name == "classification":
        weight = _weight(problem, train, counts)
    return estimators.ridge(features, 2 * labels - 1, STRENGTHS, weight=weight)


def _weight(problem: Problem, train: Set, counts: np.ndarray | None) -> np.ndarray:
    """[N] of the examples, as the task weighs their classes, times what they count."""
    weight = jnp.ones(len(train[1])) if counts is None else jnp.asarray(counts)
    stream = {"labels": jnp.asarray(train[1]), "weight": weight}
    return np.asarray(problem.task.weigh(stream))


def _several(
    problem: Problem, train: Set, held: Set, counts: np.ndarray | None
) -> tuple[Any, Any]:
    """Logistic regression over the classes, weighted as the task weighs them."""
    weight = np.ones(len(train[1]), np.float32)
    if problem.task.name == "classification":
        weight = _weight(problem, train, counts)
    fitted = estimators.fit(
        *train, classes=len(problem.classes), validation=held, weight=weight
    )
    return fitted.kernel, fitted.bias


def _one_by_one(train: Set, held: Set) -> tuple[np.ndarray, np.ndarray]:
    """A logistic regression a label, kernel [D C] and bias [C].

    A label that all training examples have, or none, becomes a constant of +-10.
    """
    kernels, biases = [], []
    for label, truth in zip(train[1].T, held[1].T, strict=True):
        if len(np.unique(label)) < 2:
            kernels.append(np.zeros(train[0].shape[1], np.float32))
            biases.append(np.float32(10 if label[0] else -10))
            continue
        yes, kept = label.astype(np.int32), truth.astype(np.int32)
        fitted = estimators.fit(train[0], yes, classes=2, validation=(held[0], kept))
        kernels.append(np.asarray(fitted.kernel[:, 1] - fitted.kernel[:, 0]))
        biases.append(np.asarray(fitted.bias[1] - fitted.bias[0]))
    return np.stack(kernels, -1), np.stack(biases)
