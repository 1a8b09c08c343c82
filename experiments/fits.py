"""Phases that fit the head by an estimator instead of steps."""

from typing import Any

import jax
import numpy as np

from experiments.evaluate import predict_all
from experiments.problem import Problem
from experiments.programs import Programs
from tl_jax import data, estimators
from tl_jax.estimators.linear_probe import STRENGTHS
from tl_jax.transfer import set_head
from tl_jax.types import Plan


def features_of(problem: Problem, plan: Plan, rows: np.ndarray) -> Any:
    """Features [N D] and labels of rows under a plan's weights, computed once."""

    def run(params: Any, stats: Any, inputs: Any) -> Any:
        return problem.base.model.apply(params, stats, inputs)[0].features

    program = Programs(run)

    def predict(stream: Any) -> Any:
        inputs = jax.device_put(stream["inputs"])
        return program(plan.params, plan.stats, inputs)

    return predict_all(predict, problem.streams(rows))


def fit_head(name: str, problem: Problem, plan: Plan, rows: data.Splits) -> Plan:
    """The plan with its head fitted on features of the training rows.

    The strength of the penalty is chosen on validation.
    """
    train = features_of(problem, plan, rows["train"])
    held = features_of(problem, plan, rows["validation"])
    validation = held.logits, held.labels
    if name == "ridge":
        fitted = estimators.ridge(train.logits, train.labels, STRENGTHS, validation)
    else:
        fitted = estimators.fit(
            train.logits,
            train.labels,
            classes=len(problem.classes),
            validation=validation,
        )
    kernel = jax.numpy.asarray(fitted.kernel).reshape(-1, problem.outputs)
    bias = jax.numpy.asarray(fitted.bias).reshape(problem.outputs)
    return set_head(kernel, bias)(jax.random.key(0), plan)
