"""Calibration of log odds by a line."""

from typing import NamedTuple

import numpy as np


class Platt(NamedTuple):
    """s -> slope s + shift."""

    slope: float
    shift: float

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return self.slope * logits + self.shift


def log_loss(logits: np.ndarray, truth: np.ndarray) -> float:
    """Mean cross entropy of log odds [N] for truth [N] in 0, 1."""
    return float(np.logaddexp(0.0, np.where(truth == 1, -logits, logits)).mean())


def platt(logits: np.ndarray, truth: np.ndarray, steps: int = 100) -> Platt:
    """The line of least cross entropy (Platt, 1999), his targets smoothed by a count.

    A truth of 1 counts as (N1 + 1) / (N1 + 2), of 0 as 1 / (N0 + 2), so that sides
    that don't overlap have a finite slope. A slope below 0 becomes 0: log odds that
    are worse than none say nothing. logits [N], truth [N] in 0, 1.
    """
    ones, zeros = truth.sum(), (1 - truth).sum()
    aims = np.where(truth == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    size = max(float(np.abs(logits).max()), 1e-12)  # Newton in numbers near 1
    design = np.stack([logits / size, np.ones(len(logits))], 1)
    flat = np.array([0.0, np.log(aims.mean() / (1 - aims.mean()))])

    def loss(line: np.ndarray) -> float:
        s = design @ line
        return float((np.logaddexp(0.0, s) - aims * s).mean())

    line = flat
    for _ in range(steps):
        odds = design @ line
        p = np.exp(-np.logaddexp(0.0, -odds))
        slope = design.T @ (p - aims) / len(p)
        curve = (design * (p * (1 - p))[:, None]).T @ design / len(p)
        step = np.linalg.solve(curve + 1e-12 * np.eye(2), slope)
        far = 1.0
        while loss(line - far * step) > loss(line) and far > 1e-10:
            far /= 2
        line = line - far * step
        if np.abs(slope).max() < 1e-12:
            break
    if line[0] < 0:
        line = flat
    return Platt(float(line[0] / size), float(line[1]))
