"""Texts side by side in rows of one length, and which of their tokens are learned."""

import bisect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tl_jax.data.ragged import Ragged, ragged
from tl_jax.data.tokenise import IGNORED


class Packed(NamedTuple):
    """R rows of several texts each."""

    tokens: Ragged
    segments: Ragged
    """1, 2, ... by text; 0 in the padding. Attention stays inside, positions restart
    (`models.causal`)."""
    labels: Ragged
    """Tokens to be said, -100 elsewhere."""


def answered(
    questions: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    pad: int = 0,
) -> tuple[Ragged, Ragged]:
    """(tokens, labels) of questions with their answers: the answer alone is learned.

    A label is its own token, as transformers has it: losses look one token ahead
    (`losses.next_token_cross_entropy`).
    """
    pairs = list(zip(questions, answers, strict=True))
    tokens = [[*question, *answer] for question, answer in pairs]
    labels = [[*[IGNORED] * len(question), *answer] for question, answer in pairs]
    return ragged(tokens, pad), ragged(labels, IGNORED)


def packed(tokens: Ragged, labels: Ragged, length: int) -> Packed:
    """Rows of at most `length` tokens, as few as best fit finds, longest texts first.

    A text longer than a row is cut into pieces. No text is lost, and none is twice; the
    first token of each is never a label, for nothing in its row is before it.

    Raises ValueError for a length below 2 and for labels of other lengths.
    """
    if length < 2:
        raise ValueError(f"packed: length is {length}, expected 2 or more")
    if not np.array_equal(tokens.lengths, labels.lengths):
        raise ValueError("packed: tokens and labels differ in their lengths")
    pieces = list(_pieces(tokens, length))
    bins = best_fit([stop - start for start, stop in pieces], length)
    rows, parts, said = [], [], []
    for members in bins:
        spans = [pieces[member] for member in members]
        rows.append(np.concatenate([tokens.flat[a:b] for a, b in spans]))
        numbers = [np.full(b - a, i + 1) for i, (a, b) in enumerate(spans)]
        parts.append(np.concatenate(numbers))
        own = [labels.flat[a:b].copy() for a, b in spans]
        for piece in own:
            piece[0] = IGNORED
        said.append(np.concatenate(own))
    return Packed(ragged(rows, tokens.fill), ragged(parts), ragged(said, IGNORED))


def _pieces(tokens: Ragged, length: int) -> Iterator[tuple[int, int]]:
    """Places (start, stop) of every text, or of its pieces."""
    for start, stop in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True):
        for at in range(start, stop, length):
            yield at, min(at + length, stop)


def best_fit(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Which sizes share a bin: each goes where it leaves the least, largest first.

    (Johnson, 1973.) Bins hold their members in the order of the list.
    """
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    bins: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, bin), ascending
    for member in order:
        at = bisect.bisect_left(free, (sizes[member], -1))
        if at == len(free):
            bins.append([member])
            left, place = room - sizes[member], len(bins) - 1
        else:
            left, place = free.pop(at)
            bins[place].append(member)
            left -= sizes[member]
        bisect.insort(free, (left, place))
    return [sorted(members) for members in bins]
