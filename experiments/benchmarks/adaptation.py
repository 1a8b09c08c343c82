"""What rows of adaptation share: features and labels of two domains, networks."""

import numpy as np

ROWS, WIDTH, CLASSES = 64, 256, 31
"""Of one domain's batch: rows, features behind a bottleneck, classes of Office-31."""
HIDDEN, RATE = 1024, 1e-3
"""Of the body and the critic, and of AdamW."""
INPUTS = 384
"""Frozen features of MiniLM."""


def domains(rows: int = ROWS, width: int = WIDTH) -> dict[str, np.ndarray]:
    """Features of both, the target's shifted; logits of both; labels of the source."""
    rng = np.random.default_rng(0)
    return {
        "source": rng.normal(size=(rows, width)).astype("f"),
        "target": (0.3 + 1.2 * rng.normal(size=(rows, width))).astype("f"),
        "source_logits": rng.normal(size=(rows, CLASSES)).astype("f"),
        "target_logits": rng.normal(size=(rows, CLASSES)).astype("f"),
        "labels": rng.integers(0, CLASSES, rows).astype("i4"),
    }


def weights(*widths: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels [in out] and biases of dense layers, the same on all sides."""
    rng = np.random.default_rng(1)
    return [
        (
            rng.normal(0, (2 / i) ** 0.5, (i, o)).astype("f"),
            np.zeros(o, np.float32),
        )
        for i, o in zip(widths, widths[1:], strict=False)
    ]
