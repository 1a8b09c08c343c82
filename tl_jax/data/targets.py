"""Answers as tokens to be written: what a decoder reads, and what it is to say."""

import numpy as np

from tl_jax.data.ragged import Ragged
from tl_jax.data.tokenise import IGNORED


def teacher_forced(
    answers: Ragged, length: int, *, first: int, end: int, pad: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(decoder tokens, labels), both [N length], of rows of tokens.

    Labels are the answer, its `end` put behind where it is missing, and -100, which no
    loss reads; the decoder reads `first` and the labels one place later (Williams and
    Zipser, 1989), `pad` where there is none. What is longer is cut, `end` or not.
    """
    rows = len(answers.offsets) - 1
    labels = np.full((rows, length), IGNORED, np.int32)
    for row in range(rows):
        own = answers.flat[answers.offsets[row] : answers.offsets[row + 1]]
        if not len(own) or own[-1] != end:
            own = np.append(own, end)
        labels[row, : len(own)] = own[:length]
    shifted = np.roll(labels, 1, axis=1)
    shifted[:, 0] = first
    return np.where(shifted == IGNORED, pad, shifted).astype(np.int32), labels
