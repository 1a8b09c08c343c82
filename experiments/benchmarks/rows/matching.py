"""Kernel mean matching of 2,000 rows against ADAPT, which asks cvxopt."""

from typing import Any

import numpy as np

from experiments.benchmarks.kinds import Ready, Row, Side

ROWS_OF_DATA, WIDTH, SIGMA = 2000, 10, 4.06
TOLERANCES = {"whole": 1e-7, "halves": 9e-4}
"""Of the squared mean discrepancy: what ADAPT leaves, see the facts."""


def data() -> tuple[np.ndarray, np.ndarray]:
    """Source and target rows [N D]; `SIGMA` is their median distance."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(ROWS_OF_DATA, WIDTH))
    return source, rng.normal(0.5, 0.8, (ROWS_OF_DATA, WIDTH))


def facts_of(weights: np.ndarray) -> dict[str, Any]:
    """How far above the least the squared mean discrepancy is, at most."""
    from tl_jax.estimators.weighting.gaussian import gaussian
    from tl_jax.estimators.weighting.quadratic import Box, inside, optimality_gap

    source, target = data()
    epsilon = 1 - ROWS_OF_DATA**-0.5
    box = Box(1000.0, ROWS_OF_DATA * (1 - epsilon), ROWS_OF_DATA * (1 + epsilon))
    K = gaussian(source, source, SIGMA)
    k = ROWS_OF_DATA * gaussian(source, target, SIGMA).mean(1)
    b = inside(weights, box)
    gap = 2 * optimality_gap(K @ b - k, b, box) / ROWS_OF_DATA**2
    return {"gap": f"{gap:.1e}"}


def with_us(tolerance: float = TOLERANCES["whole"]) -> Ready:
    """`estimators.weighting.kmm`, in float64."""
    from tl_jax.estimators.weighting import kmm

    kept: dict[str, Any] = {}

    def call() -> None:
        kept["found"] = kmm(*data(), sigma=SIGMA, tolerance=tolerance)

    return Ready(call, facts=lambda: facts_of(kept["found"].values))


def with_adapt(max_size: int) -> Ready:
    """ADAPT's KMM of the same kernel and bounds; beyond `max_size` rows by halves."""
    from adapt.instance_based import KMM

    kept: dict[str, Any] = {}

    def call() -> None:
        how = dict(kernel="rbf", gamma=1 / (2 * SIGMA**2), verbose=0, random_state=0)
        kept["weights"] = KMM(max_size=max_size, **how).fit_weights(*data())

    return Ready(call, facts=lambda: facts_of(kept["weights"]))


def _ours(name: str, tolerance: float) -> Side:
    return Side(name, f"{__name__}:with_us", {"tolerance": tolerance}, "jax", "float64")


def _peer(name: str, max_size: int, against: str) -> Side:
    return Side(
        name,
        f"{__name__}:with_adapt",
        {"max_size": max_size},
        dtype="float64",
        needs=("adapt", "cvxopt"),
        against=against,
    )


OURS = {name: f"tl_jax, float64, gap {gap:g}" for name, gap in TOLERANCES.items()}
ROWS = (
    Row(
        "kmm",
        "Kernel mean matching",
        f"Weights of {ROWS_OF_DATA} rows of {WIDTH} numbers against as many, a "
        f"Gaussian kernel of width {SIGMA:g}, the bounds of Huang et al. (2007). "
        "ADAPT's default cuts the rows in halves, each matched apart.",
        ours=tuple(_ours(OURS[name], gap) for name, gap in TOLERANCES.items()),
        peers=(
            _peer("ADAPT (cvxopt)", ROWS_OF_DATA, OURS["whole"]),
            _peer("ADAPT (cvxopt), halves", 1000, OURS["halves"]),
        ),
    ),
)
