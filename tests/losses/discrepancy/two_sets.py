"""Two sets of rows and loops over them: what tests of discrepancies share."""

import numpy as np


def drawn(rows=(6, 5), width=4, seed=0, shift=0.7):
    """A set around 0 and a wider one around `shift`, float32."""
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(rows[0], width))
    target = shift + 1.5 * rng.normal(size=(rows[1], width))
    return source.astype("f"), target.astype("f")


WEIGHTS = np.array([1, 0.5, 0, 2, 1, 1], "f"), np.array([0, 1, 1.5, 1, 0.25], "f")


def kernel_of(kernel, pooled, weight):
    """The kernel as a function of two rows, its width found by loops."""
    pooled = pooled.astype(np.float64)
    count = len(pooled)
    square = [[sum((a - b) ** 2) for b in pooled] for a in pooled]
    if kernel.width == "median":
        real = [i for i in range(count) if weight[i] > 0]
        width = np.median([square[i][j] for i in real for j in real if i < j])
    elif kernel.width == "mean":
        each = range(count)
        both = sum(weight[i] * weight[j] * square[i][j] for i in each for j in each)
        width = both / sum(weight) ** 2
    else:
        width = kernel.width

    def k(x, y):
        far = sum((x.astype(np.float64) - y) ** 2)
        values = [np.exp(-far / (2 * s * width)) for s in kernel.scales]
        return sum(values) if kernel.summed else sum(values) / len(values)

    return k


def by_pairs(k, source, target, first, second, unbiased):
    """Weighted means of k over pairs, pair by pair; rows are anything k takes."""

    def mean(xs, ys, ws, vs, same):
        total = count = 0.0
        for i in range(len(ws)):
            for j in range(len(vs)):
                if not (same and unbiased and i == j):
                    total += ws[i] * vs[j] * k(xs[i], ys[j])
                    count += ws[i] * vs[j]
        return total / count

    within = mean(source, source, first, first, True)
    within += mean(target, target, second, second, True)
    return within - 2 * mean(source, target, first, second, False)


def in_a_ring(k, source, target):
    """The linear form, row by row."""
    total, count = 0.0, len(source)
    for i in range(count):
        j = (i + 1) % count
        total += k(source[i], source[j]) + k(target[i], target[j])
        total -= k(source[i], target[j]) + k(source[j], target[i])
    return total / count


def padded(x, rows=2, value=50.0):
    """x with rows that hold rubbish."""
    return np.concatenate([x, np.full((rows, *x.shape[1:]), value, x.dtype)])


def ones(count, rows=2):
    """Weights of rows and of what `padded` puts behind them."""
    return np.concatenate([np.ones(count, "f"), np.zeros(rows, "f")])
