"""P-tuning: a small network that makes the prompt."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.nn import dense, lstm
from tl_jax.transfer.graft import graft
from tl_jax.transfer.prompts.encoders import check_free, check_part, uniform_dense
from tl_jax.transfer.prompts.prompt import Prompt, check_length
from tl_jax.tree import get, node, one_of, put, static
from tl_jax.types import Array, Key, Params, Transfer

Form = Literal["mlp", "lstm"]


@node
class PromptEncoder:
    """mlp(e) or mlp(lstm(e)), ReLU between layers. embedding e [P D].

    lstm: layer -> forward and backward cells, {} for the first form; mlp: layer ->
    kernel [I O] and bias [O], both numbered from "0".
    """

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {}
    embedding: Array
    lstm: Params
    mlp: Params
    at: str = static("embed")
    name: str = static("p_tuning")

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """A node at the root is expanded; no layer has its point."""
        raise TypeError("a prompt's encoder acts through expand(params)")

    def tokens(self) -> Array:
        """The prompt [P D]."""
        x = self.embedding[None]
        seen = jnp.ones(x.shape[:2], bool)
        for number in sorted(self.lstm, key=int):
            cells = self.lstm[number]
            onwards = lstm(cells["forward"], x, seen)
            back = lstm(cells["backward"], x, seen, reverse=True)
            x = jnp.concatenate([onwards, back], axis=-1)
        for number in sorted(self.mlp, key=int):
            x = dense(self.mlp[number], x if number == "0" else jax.nn.relu(x))
        return x[0]

    def made(self, params: Params) -> dict[str, Prompt]:
        """Path -> the plain prompt that stands for it there."""
        return {f"{self.at}/patch/{self.name}": Prompt(self.tokens())}

    def expand(self, params: Params) -> Params:
        """The tree with its prompt."""
        for path, own in self.made(params).items():
            params = put(params, path, own)
        return params


def p_tuning(
    length: int,
    *,
    form: Form = "mlp",
    hidden: int | None = None,
    layers: int = 2,
    where: str = "embed",
    name: str = "p_tuning",
) -> Transfer:
    """`length` words in front of every row that a network makes (Liu et al., 2021).

    "mlp": three layers with ReLU, D -> M -> M -> D; "lstm": `layers` bidirectional
    LSTMs of M units, then 2M -> 2M -> D, of learned vectors e [P D]. M is `hidden`,
    by default the model's width D. The network is at the root and `plain(plan)` drops
    it behind training. Its start and its forms are those of PEFT's `PromptEncoder`
    (two biases a cell, so that counts and steps are the same), which calls either form
    P-tuning, drops between LSTMs where it is told to, and puts the words in front; the
    paper has an LSTM, no dropout, and puts them anywhere in a template.

    What `prompt` says of positions, padding and what is returned holds here too;
    `where` is the path of the embedding. The base's rates are untouched: `freeze`
    first.

    Raises `NoMatch` for an unknown form or path, ValueError for sizes below 1 and a
    model without words.
    """
    check_length("p_tuning", length)
    one_of("p_tuning: form", form, get_args(Form))
    for what, size in (("hidden", hidden), ("layers", layers)):
        if size is not None and size < 1:
            raise ValueError(f"p_tuning: {what} is {size}, expected 1 or more")

    def make(key: Key, params: Params) -> PromptEncoder:
        site = get(params, where)
        check_part(name, where, site, "tokens", "words")
        check_free(params, [where], name)
        width = site["tokens"]["embedding"].shape[1]
        units = width if hidden is None else hidden
        k_rows, k_lstm, k_mlp = jax.random.split(key, 3)
        cells: Params = {}
        sizes = (width, units, units, width)
        if form == "lstm":
            cells = init_lstms(k_lstm, width, units, layers)
            sizes = (2 * units, 2 * units, width)
        own = jax.random.split(k_mlp, len(sizes) - 1)
        mlp = {str(i): uniform_dense(k, *sizes[i : i + 2]) for i, k in enumerate(own)}
        rows = jax.random.normal(k_rows, (length, width))
        return PromptEncoder(rows, cells, mlp, where, name)

    return graft("", name, make)


def init_lstms(key: Key, width: int, units: int, layers: int) -> Params:
    """Bidirectional cells by layer; torch's second bias stands with the state."""

    def cell(key: Key, inputs: int) -> Params:
        k_input, k_state = jax.random.split(key)
        return {
            "input": uniform_dense(k_input, inputs, 4 * units, units),
            "state": uniform_dense(k_state, units, 4 * units, units),
        }

    made: Params = {}
    for i, k in enumerate(jax.random.split(key, layers)):
        k_forward, k_backward = jax.random.split(k)
        inputs = 2 * units if i else width
        made[str(i)] = {
            "forward": cell(k_forward, inputs),
            "backward": cell(k_backward, inputs),
        }
    return made
