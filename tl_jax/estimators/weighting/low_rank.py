"""Kernel matrices of low rank, by pivoted Cholesky."""

from typing import NamedTuple

import numpy as np

from tl_jax.estimators.weighting.gaussian import gaussian


class LowRank(NamedTuple):
    """K = root root' + diag(rest), the diagonal exact."""

    root: np.ndarray
    """[N R]"""
    rest: np.ndarray
    """[N] what the diagonal lacks, at least 0."""

    def times(self, b: np.ndarray) -> np.ndarray:
        """K b [N]."""
        return self.root @ (self.root.T @ b) + self.rest * b


def pivoted(
    rows: np.ndarray, sigma: float, most: int, trace: float, hopeful: bool = False
) -> LowRank:
    """The Gaussian kernel of rows [N D], rank `most` at most.

    Greedy: the next column is the row that is explained least (Fine and Scheinberg,
    2001). Ends when what is not explained is at most `trace` of the kernel's trace N.
    The kernel is never held: memory is N R. With `hopeful`, ends as well where `trace`
    will not be reached: what is not explained falls ever more slowly, and it lies
    above the straight line, in logarithms, to `trace` at `most` columns.
    """
    rest = np.ones(len(rows))
    columns = np.empty((min(most, len(rows)), len(rows)))
    found = 0
    while found < len(columns) and rest.sum() > trace * len(rows):
        pivot = int(rest.argmax())
        column = gaussian(rows, rows[pivot : pivot + 1], sigma)[:, 0]
        column -= columns[:found, pivot] @ columns[:found]
        column /= np.sqrt(rest[pivot])
        columns[found] = column
        rest = np.maximum(rest - column**2, 0.0)
        rest[pivot] = 0.0
        found += 1
        share = max(float(rest.mean()), trace)
        slow = np.log(share) > np.log(trace) * found / len(columns)
        if hopeful and slow and found % 32 == 0:
            break
    return LowRank(np.ascontiguousarray(columns[:found].T), rest)
