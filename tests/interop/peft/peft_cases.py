"""Bases and runs of PEFT's recorded cases."""

import jax
import numpy as np
import record_peft_files as record

from tl_jax import pretrained
from tl_jax.transfer import freeze, full

NONE = dict(rate=0.0)
TOLERANCE = 2e-5


def base_of(family: str):
    """The same model that PEFT had."""
    return pretrained.load(record.HERE / record.BASES[family][0])


def plan_of(base, *transfers):
    """A plan of a frozen base with some transfers on it."""
    plan = freeze(".*")(jax.random.key(0), full(base.params, base.stats))
    for i, transfer in enumerate(transfers):
        plan = transfer(jax.random.key(i), plan)
    return plan


def logits_of(base, params, family: str) -> np.ndarray:
    """Our answers to the recorded inputs."""
    inputs = dict(record.inputs_for(family))
    if "image" in inputs:
        inputs["image"] = inputs["image"].transpose(0, 2, 3, 1)

    def run(params, inputs):
        return base.model.apply(params, base.stats, inputs)[0].logits

    return np.asarray(jax.jit(run)(params, inputs))


def apart(family: str, found: np.ndarray, expected: np.ndarray) -> float:
    """max|difference| / max|expected| at real tokens."""
    assert found.shape == expected.shape
    if found.ndim == 3:
        shown = record.inputs_for(family)["mask"].astype(bool)
        found, expected = found[shown], expected[shown]
    return float(np.abs(found - expected).max() / np.abs(expected).max())
