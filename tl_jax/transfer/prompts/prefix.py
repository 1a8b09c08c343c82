"""Prefixes: keys and values that every token may look at."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import dense, normal
from tl_jax.nn.block import block_range
from tl_jax.transfer.graft import graft
from tl_jax.transfer.plan import BLOCK, chain
from tl_jax.transfer.prompts.encoders import check_free, check_part, uniform_dense
from tl_jax.transfer.prompts.prompt import check_length
from tl_jax.tree import get, matches, node, put, sites, static
from tl_jax.types import Array, Key, Params, Transfer


@node
class Prefix:
    """Further keys and values in front of each row's own. keys, values [P D]."""

    point: ClassVar[str] = "kv"
    rates: ClassVar[Mapping[str, float]] = {}
    keys: Array
    values: Array

    def __call__(self, site: Params, value: tuple, *, x: Any = None, key: Any = None):
        """(keys [B G S d], values, mask [B S]) with P more, all of them present."""
        k, v, mask = value
        front = jnp.ones((len(mask), len(self.keys)), mask.dtype)
        return (
            jnp.concatenate([_rows(self.keys, k), k], axis=2),
            jnp.concatenate([_rows(self.values, v), v], axis=2),
            jnp.concatenate([front, mask], axis=1),
        )


@node
class PrefixEncoder:
    """tanh(e W1 + b1) W2 + b2: every site's keys, then its values. e [P D].

    hidden: kernel [D M], bias [M]; output: kernel [M N], bias [N], N all their widths.
    """

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {}
    embedding: Array
    hidden: Params
    output: Params
    at: tuple[tuple[str, int, int], ...] = static()
    """(path, width of the keys, width of the values) of each attention."""
    name: str = static("prefix")

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """A node at the root is expanded; no layer has its point."""
        raise TypeError("a prefix's encoder acts through expand(params)")

    def made(self, params: Params) -> dict[str, Prefix]:
        """Path -> the plain prefix that stands for it there, stacked as blocks are."""
        rows = dense(self.output, jnp.tanh(dense(self.hidden, self.embedding)))
        first, found = 0, {}
        for path, wide, broad in self.at:
            keys = rows[:, first : first + wide]
            values = rows[:, first + wide : first + wide + broad]
            found[f"{path}/patch/{self.name}"] = Prefix(keys, values)
            first += wide + broad
        return _as_stacked(found, params)

    def expand(self, params: Params) -> Params:
        """The tree with its prefix at each of the sites."""
        for path, own in self.made(params).items():
            params = put(params, path, own)
        return params


@node
class Shift:
    """Positions moved up by `count`, as if that many tokens stood in front."""

    point: ClassVar[str] = "positions"
    rates: ClassVar[Mapping[str, float]] = {}
    count: int = static(0)

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """value [B T]; raises ValueError beyond the table, where lookups repeat."""
        if "positions" in site:
            held = len(site["positions"]["embedding"])
            if value.shape[1] + self.count > held:
                raise ValueError(
                    f"{value.shape[1]} tokens in a row, moved up by {self.count}, but "
                    f"positions for {held}"
                )
        return value + self.count


def prefix(
    length: int,
    where: str = r"blocks/\d+/attention",
    *,
    hidden: int | None = None,
    shift: bool = False,
    std: float = 0.02,
    name: str = "prefix",
) -> Transfer:
    """`length` learned keys and values in front of matching attentions.

    (Li and Liang, 2021.) Without `hidden` each site has its own, drawn from a normal
    of `std`. With it, one network at the root makes all of them,
    tanh(e W1 + b1) W2 + b2 of `hidden` units, which trains more steadily; it starts as
    PEFT's does, and `plain(plan)` drops it behind training. Even zeros take a share of
    the attention, so the function changes from the start.

    Padding on either side stays unseen, keys are not rotated, and grouped heads have
    theirs. Positions are those of before; PEFT counts them from `length` on, so
    `shift=True` moves them up: a rotary model then sees the prefix that far away. PEFT
    counts padding too, which differs for rows that are padded on the left. The base's
    rates are untouched: `freeze` first.

    Raises `NoMatch` with the nearest attentions, ValueError for a length or `hidden`
    below 1, and for a shift in a model that counts no positions.
    """
    check_length("prefix", length)
    if hidden is not None and hidden < 1:
        raise ValueError(f"prefix: hidden is {hidden}, expected 1 or more")

    def widths(site: Params) -> tuple[int, int]:
        wide, broad = (site[n]["kernel"].shape[-1] for n in ("key", "value"))
        return wide, broad

    def make(key: Key, site: Params) -> Prefix:
        k_keys, k_values = jax.random.split(key)
        wide, broad = widths(site)
        keys = normal(k_keys, (length, wide), std)
        return Prefix(keys, normal(k_values, (length, broad), std))

    def make_encoder(key: Key, params: Params) -> PrefixEncoder:
        known = [p for p, site in sites(params).items() if site.keys() >= HAS]
        found = matches(where, known, f"{name}: where")
        at = tuple((path, *widths(get(params, path))) for path in _in_order(found))
        check_free(params, [path for path, *_ in at], name)
        k_rows, k_hidden, k_output = jax.random.split(key, 3)
        return PrefixEncoder(
            jax.random.normal(k_rows, (length, at[0][1])),
            uniform_dense(k_hidden, at[0][1], hidden),
            uniform_dense(k_output, hidden, sum(k + v for _, k, v in at)),
            at,
            name,
        )

    def make_shift(key: Key, site: Params) -> Shift:
        check_part(f"{name}, shift", "embed", site, "tokens", "words")
        return Shift(length)

    if hidden is None:
        own = graft(where, name, make, has=tuple(sorted(HAS)))
    else:
        own = graft("", name, make_encoder)
    return chain(own, graft("embed", f"{name}_shift", make_shift)) if shift else own


HAS = {"query", "key", "value"}
"""What makes a site an attention."""


def _in_order(found: list[str]) -> list[str]:
    """Paths by their block's number, which as text would put 10 before 2."""

    def number(path: str) -> int:
        block = BLOCK.fullmatch(path)
        return block_range(block[1]).start if block else -1

    return sorted(found, key=lambda path: (number(path), path))


def _as_stacked(found: dict[str, Prefix], params: Params) -> dict[str, Prefix]:
    """The same by the paths of `params`, where blocks may be joined."""
    grouped: dict[str, list[Prefix]] = {}
    for path, own in found.items():
        grouped.setdefault(_there(path, params), []).append(own)
    made = {}
    for path, nodes in grouped.items():
        block = BLOCK.fullmatch(path)
        count = len(block_range(block[1])) if block else 1
        if len(nodes) != count:
            raise ValueError(
                f"{path}: {len(nodes)} of {count} joined blocks have a prefix, "
                "expected all: give every block one, or leave blocks unstacked"
            )
        if block and "-" in block[1]:
            made[path] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nodes)
        else:
            made[path] = nodes[0]
    return made


def _there(path: str, params: Params) -> str:
    """The path with its block's name as `params` has it."""
    block = BLOCK.fullmatch(path)
    if not block:
        return path
    front, back = path[: block.start(1)], path[block.end(1) :]
    number = int(block[1])
    names = get(params, front.rstrip("/"))
    return next(f"{front}{name}{back}" for name in names if number in block_range(name))


def _rows(own: Array, like: Array) -> Array:
    """own [P D] as [B G P d], in the heads and the dtype of `like`."""
    batch, heads, _, width = like.shape
    split = own.reshape(len(own), heads, width).swapaxes(0, 1).astype(like.dtype)
    return jnp.broadcast_to(split, (batch, *split.shape))
