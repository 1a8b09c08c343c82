"""Discrepancies of TLlib, pytorch-adapt, skada and POT, by name.

Each is `(source, target, source_logits, target_logits, labels) -> number`, of torch's
tensors. Their folders stand on PYTHONPATH: TLlib with prettytable, pytorch-adapt with
pytorch-metric-learning and torchmetrics, skada with POT and skorch.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from experiments.benchmarks.source import tllib

SCALES = [2.0**k for k in range(-3, 2)]
LINES = 16


def drawn() -> dict[str, np.ndarray]:
    """The inputs: ten rows of each domain, six features, three classes."""
    rng = np.random.default_rng(0)
    return {
        "source": rng.normal(size=(10, 6)).astype("f"),
        "target": (0.5 + 1.5 * rng.normal(size=(10, 6))).astype("f"),
        "source_logits": rng.normal(size=(10, 3)).astype("f"),
        "target_logits": rng.normal(size=(10, 3)).astype("f"),
        "labels": rng.integers(0, 3, 10),
    }


def of_tllib() -> dict[str, Callable]:
    """DAN's and JAN's without their constant, and CORAL."""
    kernel = tllib("modules.kernels").GaussianKernel
    five = [kernel(alpha=scale) for scale in SCALES]
    layers = five, (kernel(sigma=0.92, track_running_stats=False),)
    dan = tllib("alignment.dan").MultipleKernelMaximumMeanDiscrepancy
    jan = tllib("alignment.jan").JointMultipleKernelMaximumMeanDiscrepancy
    align = tllib("alignment.coral").CorrelationAlignmentLoss()

    def less(value: Any, rows: Any) -> Any:
        return value - 2 / (len(rows) - 1)

    def of_features(linear: bool) -> Callable:
        return lambda s, t, *_: less(dan(five, linear=linear)(s, t), s)

    def of_both(linear: bool) -> Callable:
        def value(s: Any, t: Any, p: Any, q: Any, _: Any) -> Any:
            both = jan(layers, linear=linear)((s, p.softmax(1)), (t, q.softmax(1)))
            return less(both, s)

        return value

    return {
        "tllib/dan": of_features(False),
        "tllib/dan_linear": of_features(True),
        "tllib/jan": of_both(False),
        "tllib/jan_linear": of_both(True),
        "tllib/coral": lambda s, t, *_: align(s, t),
    }


def of_pytorch_adapt() -> dict[str, Callable]:
    """Its quadratic MMD of a given bandwidth, of one layer and two, and CORAL."""
    mmd = importlib.import_module("pytorch_adapt.layers.mmd_loss").MMDLoss
    coral = importlib.import_module("pytorch_adapt.layers.coral_loss").CORALLoss()
    how = dict(mmd_type="quadratic", bandwidth=5.0)
    scales = torch.tensor([0.5, 1.0, 2.0])
    return {
        "pytorch_adapt/mmd": lambda s, t, *_: mmd(kernel_scales=scales, **how)(s, t),
        "pytorch_adapt/jmmd": lambda s, t, p, q, _: mmd(kernel_scales=scales, **how)(
            [s, p], [t, q]
        ),
        "pytorch_adapt/coral": lambda s, t, *_: coral(s, t),
    }


def of_skada() -> dict[str, Callable]:
    """Deep CORAL, and DeepJDOT by exact transport."""
    losses = importlib.import_module("skada.deep.losses")
    return {
        "skada/coral": lambda s, t, *_: losses.deepcoral_loss(s, t),
        "skada/deep_jdot": lambda s, t, p, q, y: losses.deepjdot_loss(
            y, q, s, t, 0.3, 1.0
        ),
    }


PEERS = {
    "tllib": of_tllib,
    "pytorch_adapt": of_pytorch_adapt,
    "skada": of_skada,
}


def computed(value: Callable) -> dict[str, np.ndarray]:
    """A discrepancy of `drawn` and its gradients of both sets of features."""
    given = {name: torch.from_numpy(array) for name, array in drawn().items()}
    both = [given[name].requires_grad_() for name in ("source", "target")]
    found = value(*given.values())
    slopes = torch.autograd.grad(found, both)
    names = ("value", "source", "target")
    return {n: x.detach().numpy() for n, x in zip(names, (found, *slopes), strict=True)}
