"""Recorded values of networks with seeded weights: what tests of plain files share."""

import numpy as np

TOLERANCE = 1e-4
"""Seeded weights make large maps: float32 sums in another order differ so far."""


def recorded(golden, name: str) -> dict[str, np.ndarray]:
    """What was recorded of one network, by the rest of its name."""
    with np.load(golden / "state_dicts.npz") as file:
        own = [key for key in file if key.startswith(f"{name}/")]
        return {key.split("/", 1)[1]: file[key] for key in own}


def shapes(values: dict) -> dict[str, tuple[int, ...]]:
    """Name -> shape, as torch had them."""
    pairs = (line.split(" ") for line in values["names"])
    return {n: tuple(map(int, filter(None, s.split("x")))) for n, s in pairs}
