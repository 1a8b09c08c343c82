"""Weights and tiny episodes for references of meta-learning, drawn from seeds."""

import numpy as np

Arrays = dict[str, np.ndarray]


def mlp_arrays(width: int = 12) -> tuple[Arrays, Arrays, Arrays]:
    """Weights, rates and tasks of the MLP: sinusoids of random size and phase."""
    rng = np.random.default_rng(0)
    weights = {}
    for at, shape in (("blocks/0", (1, width)), ("blocks/1", (width, width))):
        weights[f"{at}/kernel"] = rng.normal(0, shape[0] ** -0.5, shape)
        weights[f"{at}/bias"] = rng.normal(0, 0.3, width)
    weights["head/kernel"] = rng.normal(0, width**-0.5, (width, 1))
    weights["head/bias"] = rng.normal(0, 0.3, 1)
    rates = {name: rng.uniform(0.01, 0.08, w.shape) for name, w in weights.items()}
    size, phase = rng.uniform(0.1, 5, (3, 1, 1)), rng.uniform(0, np.pi, (3, 1, 1))
    tasks = {}
    for part, count in (("support", 5), ("query", 7)):
        x = rng.uniform(-5, 5, (3, count, 1))
        tasks |= {f"{part}_x": x, f"{part}_y": size * np.sin(x - phase)}
    return weights, rates, tasks


def conv4_arrays(filters: int = 8, ways: int = 3) -> tuple[Arrays, Arrays]:
    """Weights and tasks of the Conv4; pixels in sixteenths, so that they pack well."""
    rng = np.random.default_rng(1)
    weights = {}
    for i in range(4):
        fan = 9 * (filters if i else 1)
        kernel = rng.normal(0, fan**-0.5, (3, 3, fan // 9, filters))
        weights |= {
            f"blocks/{i}/conv/kernel": kernel,
            f"blocks/{i}/conv/bias": rng.normal(0, 0.1, filters),
            f"blocks/{i}/norm/scale": rng.normal(1, 0.1, filters),
            f"blocks/{i}/norm/bias": rng.normal(0, 0.1, filters),
        }
    weights["head/kernel"] = rng.normal(0, 0.2, (4 * filters, ways))
    weights["head/bias"] = rng.normal(0, 0.1, ways)
    shapes, tasks = rng.uniform(size=(2, ways, 1, 20, 20, 1)), {}
    for part, count in (("support", 2), ("query", 3)):
        drawn = 0.6 * shapes + 0.4 * rng.uniform(size=(2, ways, count, 20, 20, 1))
        x = (np.round(16 * drawn) / 16).reshape(2, -1, 20, 20, 1)
        y = np.tile(np.repeat(np.arange(ways), count), (2, 1))
        order = rng.permutation(y.shape[1])
        tasks |= {f"{part}_x": x[:, order], f"{part}_y": y[:, order]}
    return {n: w.astype("f") for n, w in weights.items()}, as_float32(tasks)


def as_float32(arrays: Arrays) -> Arrays:
    """Floats alone; labels stay."""
    return {n: a.astype("f") if a.dtype.kind == "f" else a for n, a in arrays.items()}


def heads_arrays(ways: int = 5, width: int = 6) -> Arrays:
    """Features of overlapping classes, shuffled: 3 and 2 rows a class."""
    rng = np.random.default_rng(2)
    centres, found = rng.normal(size=(ways, width)), {}
    for part, count in (("support", 3), ("query", 2)):
        labels = rng.permutation(np.repeat(np.arange(ways), count))
        noise = rng.normal(size=(len(labels), width))
        found |= {part: centres[labels] + 0.7 * noise, f"{part}_labels": labels}
    return found
