"""A linear probe on features against scikit-learn, at an equal objective."""

from typing import Any

import numpy as np

from experiments.benchmarks.kinds import Ready, Row, Side

ROWS_OF_DATA, WIDTH, CLASSES, STRENGTH = 4000, 384, 20, 1e-3
TOLERANCES = {"ours": 1e-5, "sklearn": 1e-6}
"""Of the gradient: its norm for us, its largest entry for scikit-learn. Both then end
1e-8 above the least objective, 0.0832052; at 1e-4 ours would be 4e-6 above it and
scikit-learn's 4e-4."""


def data() -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clusters: features [N D], labels [N]."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 0.2, (CLASSES, WIDTH))
    labels = rng.integers(0, CLASSES, ROWS_OF_DATA)
    features = centres[labels] + rng.normal(size=(ROWS_OF_DATA, WIDTH))
    return features.astype(np.float32), labels.astype(np.int32)


def objective(kernel: np.ndarray, bias: np.ndarray) -> float:
    """Mean cross entropy and penalty of a head on standardised features, in float64."""
    features, labels = data()
    z = _standardised(features.astype(np.float64))
    logits = z @ np.asarray(kernel, np.float64) + np.asarray(bias, np.float64)
    logits -= logits.max(1, keepdims=True)
    picked = logits[np.arange(len(labels)), labels]
    losses = np.log(np.exp(logits).sum(1)) - picked
    return float(losses.mean() + STRENGTH / 2 * (np.asarray(kernel) ** 2).sum())


def _standardised(features: np.ndarray) -> np.ndarray:
    return (features - features.mean(0)) / features.std(0)


def with_us(tolerance: float = TOLERANCES["ours"]) -> Ready:
    """`estimators.fit`, standardising included."""
    import jax

    from tl_jax.estimators import fit

    features, labels = data()
    kept: dict[str, Any] = {}

    def call() -> None:
        settings = dict(classes=CLASSES, strengths=(STRENGTH,), tolerance=tolerance)
        kept["probe"] = jax.block_until_ready(fit(features, labels, **settings))

    def facts() -> dict[str, Any]:
        mean, deviation = features.mean(0), features.std(0)
        kernel = np.asarray(kept["probe"].kernel)
        bias = np.asarray(kept["probe"].bias) + mean @ kernel
        found = objective(kernel * deviation[:, None], bias)
        return {"objective": f"{found:.9f}"}

    return Ready(call, compiles=True, facts=facts)


def with_sklearn(tolerance: float = TOLERANCES["sklearn"]) -> Ready:
    """StandardScaler and LogisticRegression with the C of the same objective."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, labels = data()
    kept: dict[str, Any] = {}

    def call() -> None:
        z = StandardScaler().fit_transform(features)
        made = LogisticRegression(
            C=1 / (STRENGTH * len(z)), tol=tolerance, max_iter=1000
        )
        kept["model"] = made.fit(z, labels)

    def facts() -> dict[str, Any]:
        model = kept["model"]
        found = objective(model.coef_.T, model.intercept_)
        return {"objective": f"{found:.9f}", "iterations": int(model.n_iter_[0])}

    return Ready(call, facts=facts)


ROWS = (
    Row(
        "probe",
        "Linear probe",
        f"Logistic regression of {CLASSES} classes on {ROWS_OF_DATA} features of "
        f"{WIDTH} numbers, standardised, L2 of strength {STRENGTH:g}, to the same "
        "objective (see the facts).",
        ours=(Side("tl_jax, float32", f"{__name__}:with_us", framework="jax"),),
        peers=(Side("scikit-learn", f"{__name__}:with_sklearn", needs=("sklearn",)),),
        product=(ROWS_OF_DATA, WIDTH, CLASSES),
    ),
)
