"""What the rows of meta-learning share: weights and episodes, drawn from seeds.

Weights are flat dicts of our paths, in our layouts; a batch of tasks is a dict of
`support_x`, `support_y`, `query_x` and `query_y`, each [K N ...].
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Down = Literal["stride", "pool"]
Arrays = dict[str, np.ndarray]
WIDTH, WAVES, SHOTS, WAVE_RATE = 40, 25, 10, 0.01
"""Of the sinusoids: two layers, tasks a step, rows of either set, inner rate."""
SETS = 20
"""Different batches of sinusoids, a meta-step each, in one call."""
SIDE, WAYS, QUERIES, GLYPH_RATE = 28, 5, 15, 0.1
"""Of the glyphs: pixels, classes, queries a class, inner rate."""
META_RATE = 1e-3
"""Of Adam."""


def wave_weights() -> Arrays:
    """1 input, two hidden layers, 1 output; kernels keep the signal's size."""
    rng, found = np.random.default_rng(0), {}
    sites = {"blocks/0": (1, WIDTH), "blocks/1": (WIDTH, WIDTH), "head": (WIDTH, 1)}
    for at, (d_in, d_out) in sites.items():
        kernel = rng.normal(0, (2 / d_in) ** 0.5, (d_in, d_out))
        found[f"{at}/kernel"] = kernel.astype(np.float32)
        found[f"{at}/bias"] = np.zeros(d_out, np.float32)
    return found


def waves(sets: int = SETS, tasks: int = WAVES) -> list[Arrays]:
    """Sinusoids of amplitude 0.1 to 5 and any phase, x in -5..5 (Finn et al., 2017)."""
    rng, found = np.random.default_rng(1), []
    for _ in range(sets):
        height = rng.uniform(0.1, 5, (tasks, 1, 1))
        phase = rng.uniform(0, np.pi, (tasks, 1, 1))
        batch = {}
        for part in ("support", "query"):
            x = rng.uniform(-5, 5, (tasks, SHOTS, 1))
            batch |= {f"{part}_x": x, f"{part}_y": height * np.sin(x - phase)}
        found.append({name: a.astype(np.float32) for name, a in batch.items()})
    return found


def last_side(down: Down) -> int:
    """Pixels of the fourth map."""
    side = SIDE
    for _ in range(4):
        side = side // 2 if down == "pool" else -(-side // 2)
    return side


def conv4_weights(filters: int, down: Down, ways: int | None = WAYS) -> Arrays:
    """Four blocks of convolution and norm, and a head over the last map, [H W C]."""
    rng, found, channels = np.random.default_rng(2), {}, 1
    for i in range(4):
        kernel = rng.normal(0, (2 / (9 * filters)) ** 0.5, (3, 3, channels, filters))
        found |= {
            f"blocks/{i}/conv/kernel": kernel,
            f"blocks/{i}/conv/bias": np.zeros(filters),
            f"blocks/{i}/norm/scale": np.ones(filters),
            f"blocks/{i}/norm/bias": np.zeros(filters),
        }
        channels = filters
    if ways is not None:
        width = filters * last_side(down) ** 2
        found["head/kernel"] = rng.normal(0, 0.02, (width, ways))
        found["head/bias"] = np.zeros(ways)
    return {name: a.astype(np.float32) for name, a in found.items()}


def glyphs(tasks: int, ways: int = WAYS, shots: int = 1, queries: int = QUERIES):
    """Noisy drawings of random classes, [K N 28 28 1], and their classes [K N].

    No two pixels are equal, or rounding would say which of them a max pool takes.
    """
    rng = np.random.default_rng(3)
    shapes = rng.uniform(size=(tasks, ways, 1, SIDE, SIDE, 1)) < 0.2
    batch = {}
    for part, count in (("support", shots), ("query", queries)):
        flips = rng.uniform(size=(tasks, ways, count, SIDE, SIDE, 1)) < 0.1
        x = (shapes ^ flips) + 0.1 * rng.normal(size=flips.shape)
        x = x.reshape(tasks, ways * count, SIDE, SIDE, 1)
        y = np.tile(np.repeat(np.arange(ways), count), (tasks, 1))
        batch |= {f"{part}_x": x.astype(np.float32), f"{part}_y": y.astype(np.int32)}
    return batch


def note(facts: dict, losses: Sequence[float]) -> None:
    """Keep the losses of the first two steps: they must be those of the other sides."""
    for loss in losses:
        if len(facts) < 2:
            facts[f"loss of step {len(facts) + 1}"] = float(loss)
