"""Prompts: words that are vectors and no words of the vocabulary."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.nn import base_weight, dropout, normal
from tl_jax.transfer.graft import graft
from tl_jax.transfer.prompts.encoders import check_part
from tl_jax.tree import node, one_of, static
from tl_jax.types import Array, Key, Params, Transfer

Init = Literal["random", "vocabulary", "text"]
Tokenize = Callable[[str], Sequence[int]]


@node
class Prompt:
    """Further tokens in front of every row, seen by all. tokens [P D]."""

    rates: ClassVar[Mapping[str, float]] = {}
    tokens: Array
    point: str = static("words")
    rate: float = static(0.0)

    def __call__(self, site: Params, value: tuple, *, x: Any = None, key: Any = None):
        """(tokens [B T D], mask [B T], positions [B T] or [1 T]) with P more.

        The new ones take positions 0 to P - 1, those of the others move up by P.
        """
        tokens, mask, positions = value
        count = len(self.tokens)
        front = jnp.broadcast_to(self.tokens, (len(tokens), *self.tokens.shape))
        front = dropout(front, self.rate, key).astype(tokens.dtype)
        seen = jnp.ones((len(mask), count), mask.dtype)
        places = jnp.arange(count, dtype=positions.dtype)
        places = jnp.broadcast_to(places, (len(positions), count))
        return (
            jnp.concatenate([front, tokens], axis=1),
            jnp.concatenate([seen, mask], axis=1),
            jnp.concatenate([places, positions + count], axis=1),
        )


def prompt(
    length: int,
    *,
    init: Init = "random",
    ids: Sequence[int] = (),
    text: str = "",
    tokenize: Tokenize | None = None,
    among: int | None = None,
    std: float = 0.02,
    rate: float = 0.0,
    where: str = "embed",
    name: str = "prompt",
) -> Transfer:
    """`length` learned words in front of every row (Lester et al., 2021).

    They meet the network where words do: BERT adds positions, the first type and its
    norm, a rotary model turns by their positions, and the row's own positions move up
    by `length`. Padding on either side stays unseen. The base's rates are untouched:
    `freeze` first.

    init "random": a normal of `std`, cut at two deviations. "vocabulary": rows of the
    model's own words, drawn with replacement from all or from the first `among` (the
    paper takes the 5,000 most common). "text": the rows of `ids`, or of what
    `tokenize(text)` gives, repeated or cut to `length` (the paper's class labels);
    configs say `text` alone. `rate` is the dropout of the prompt.

    Models return their own tokens alone, so that BERT's pooler reads the class token.
    PEFT returns the prompt's states too: its pooler reads the first word of the prompt,
    and a classifier of Llama's family the last place of a row, padding or not. Nor does
    PEFT count positions by the mask: of rows padded on the left it leaves a gap behind
    the prompt. Its random prompt is a normal of deviation 1, the paper's uniform
    between -0.5 and 0.5; its text keeps the tokenizer's special tokens.

    Raises `NoMatch` for an unknown init, ValueError for a length below 1, a model
    without words, ids beyond them, and arguments that `init` does not read.
    """
    _check(length, init, ids, text, tokenize, among)
    check_rate("prompt", rate)

    def rows(table: Array, key: Key) -> Array:
        if init == "vocabulary":
            most = len(table) if among is None else among
            _check_ids("among", (most - 1,), len(table))
            return table[jax.random.randint(key, (length,), 0, most)]
        found = tuple(ids) or tuple(tokenize(text))
        if not found:
            raise ValueError(f"prompt: text {text!r} has no tokens, expected some")
        _check_ids("ids", found, len(table))
        return table[np.resize(np.asarray(found, np.int32), length)]

    def make(key: Key, site: Params) -> Prompt:
        check_part(name, where, site, "tokens", "words")
        table = base_weight(site["tokens"], "embedding")
        if init == "random":
            own = normal(key, (length, table.shape[1]), std)
        else:
            own = rows(table, key).astype(jnp.float32)
        return Prompt(own, "words", rate)

    return graft(where, name, make)


def check_length(method: str, length: int) -> None:
    """Raise ValueError for a number of new tokens below 1."""
    if length < 1:
        raise ValueError(f"{method}: length is {length}, expected 1 or more")


def check_rate(method: str, rate: float) -> None:
    """Raise ValueError for a dropout that is no share below 1."""
    if not 0 <= rate < 1:
        raise ValueError(f"{method}: rate is {rate}, expected in [0, 1)")


def _check(
    length: int,
    init: str,
    ids: Sequence[int],
    text: str,
    tokenize: Tokenize | None,
    among: int | None,
) -> None:
    check_length("prompt", length)
    one_of("prompt: init", init, get_args(Init))
    if init == "text":
        if bool(ids) == bool(text):
            raise ValueError(
                f"prompt: init 'text' has ids {tuple(ids)} and text {text!r}, expected "
                "one of them"
            )
        if text and tokenize is None:
            raise ValueError(
                f"prompt: text {text!r} needs tokenize, a function from a text to ids"
            )
    elif ids or text:
        raise ValueError(
            f"prompt: {'ids' if ids else 'text'} is given, but init is {init!r}, "
            "expected 'text'"
        )
    if among is not None and (init != "vocabulary" or among < 1):
        raise ValueError(
            f"prompt: among is {among} with init {init!r}, expected 1 or more words "
            "with init 'vocabulary'"
        )


def _check_ids(what: str, ids: Sequence[int], words: int) -> None:
    for number in ids:
        if not 0 <= number < words:
            raise ValueError(
                f"prompt: {what} has {number}, expected 0 to {words - 1}: the model "
                f"has {words} words"
            )
