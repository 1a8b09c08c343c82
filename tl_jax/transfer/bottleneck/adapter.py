"""Adapters: a small bottleneck network at each residual sum."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, get_args

import jax.numpy as jnp
from jax import lax

from tl_jax.nn import dropout, thin_product
from tl_jax.nn.activations import ACTIVATIONS, activate
from tl_jax.transfer.bottleneck.initial import Init, check_init, drawn
from tl_jax.transfer.graft import graft
from tl_jax.transfer.plan import chain
from tl_jax.transfer.plan import rate as set_rate
from tl_jax.tree import exactly, get, matches, node, one_of, sites, static
from tl_jax.types import Array, Key, Params, Plan, Transfer

LAYERS = ("attention", "cross", "mlp")
"""Branches of a block: an adapter of one is the patch `<name>_<layer>` there."""
BLOCKS = r"(.*/)?blocks/\d+"
Reads = Literal["branch", "sum", "stream"]
Order = Literal["post", "pre"]
Activation = str | Callable[[Array], Array]


@node
class Adapter:
    """y + scale up(activation(down(h))), y a branch just before its residual sum.

    down {kernel [D r], bias [r]}, up {kernel [r D], bias [D]}, scale [] or [D].
    `keep` [], where there is one, is whether it acts at all.
    """

    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    down: Params
    up: Params
    scale: Array
    keep: Array | None = None
    point: str = static("mlp_sum")
    reads: str = static("branch")
    order: str = static("post")
    activation: Activation = static("relu")
    rate: float = static(0.0)
    fused: bool = static(False)

    def __call__(self, site: Params, value: Array, *, x: Any, key: Key | None) -> Array:
        """Add the adapter's own part; one that is fused leaves that to the fusion."""
        if self.fused:
            return value

        def acting(value: Array) -> Array:
            own = self.branch(self.source(value, x))
            return value + dropout(own, self.rate, key).astype(value.dtype)

        if self.keep is None:
            return acting(value)
        return lax.cond(self.keep > 0, acting, lambda value: value, value)

    def source(self, value: Array, x: Any) -> Array:
        """What it reads, with x = (stream, norm): see `adapter`."""
        stream, norm = x
        if self.reads == "stream":
            return norm(stream) if self.order == "pre" else stream
        if self.reads == "sum":
            return stream + value if self.order == "pre" else norm(stream + value)
        return value

    def branch(self, h: Array) -> Array:
        """scale up(activation(down(h))). h [B T D] -> [B T D]."""
        low = affine(self.down, h)
        own = self.activation
        low = activate(own, low) if isinstance(own, str) else own(low)
        return (affine(self.up, low) * self.scale).astype(h.dtype)


def affine(part: Params, x: Array) -> Array:
    """x W + b in x's dtype. x [B T I] -> [B T O]."""
    return (thin_product(x, part["kernel"]) + part["bias"]).astype(x.dtype)


def adapter(
    where: str = BLOCKS,
    *,
    layers: str | Iterable[str] = ("attention", "mlp"),
    reduction: float = 16.0,
    width: int | None = None,
    reads: Reads = "branch",
    order: Order | None = None,
    activation: Activation = "relu",
    scale: float | Literal["learned", "channel"] = 1.0,
    init: Init = "bert",
    rate: float = 0.0,
    name: str = "adapter",
) -> Transfer:
    """A bottleneck at the residual sums of matching blocks, which all adapters are.

    y <- y + scale up(activation(down(h))), y what a branch f adds to the residual
    stream x, dropout and all; `layers` says which branches, one patch `<name>_<layer>`
    each. `reads` is what h is:

    branch: y (Houlsby et al., 2019)
    sum: norm(x + y), or x + y in pre-norm blocks, whose norm of that sum is elsewhere
        (Pfeiffer et al., 2021, and AdapterHub)
    stream: what f read: x, or norm(x) in pre-norm blocks (He et al., 2022; AdapterHub
        takes x in both)

    `order` says whether blocks are post-norm or pre-norm; by default they are pre-norm
    if there is a `norm` behind the last of them. The bottleneck is D // `reduction`
    wide, at least 1, or `width`. `scale` is a factor, or learned from 1 on, for all
    channels or each. `init`: "houlsby", kernels of a normal of 0.01 cut at two
    deviations; "bert", a normal of 0.02: both start near the identity; "zero", an
    `up` of zeros behind a uniform `down` (He et al., 2022): the identity. `rate` is the
    dropout of what is added. The base's rates are untouched: `freeze` them first.

    Raises `NoMatch` with the nearest blocks or names, ValueError for a width below 1.
    """
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    for layer in layers:
        one_of(f"{name}: layer", layer, LAYERS)
    check_adapter(reduction, width, reads, order, activation, scale, init)

    def make_at(layer: str, known: Order) -> Callable[[Key, Params], Adapter]:
        def make(key: Key, site: Params) -> Adapter:
            size = site[f"norm_{layer}"]["scale"].shape[-1]
            small = width or max(int(size // reduction), 1)
            down, up = drawn(key, (size, small, size), init)
            fixed = 1.0 if isinstance(scale, str) else scale
            factor = jnp.full((size,) if scale == "channel" else (), fixed)
            kind = (f"{layer}_sum", reads, known, activation, rate)
            return Adapter(down, up, factor, None, *kind)

        return make

    own = at_blocks(where, layers, name, make_at, order)
    scales = rf".*/patch/{re.escape(name)}_[a-z]+/scale"
    return chain(own, set_rate(scales, 1.0)) if isinstance(scale, str) else own


def at_blocks(
    where: str,
    layers: tuple[str, ...],
    name: str,
    make_at: Callable[[str, Order], Callable[[Key, Params], Any]],
    order: Order | None,
) -> Transfer:
    """Graft `make_at(layer, order)` as `<name>_<layer>` at the blocks."""

    def transfer(key: Key, plan: Plan) -> Plan:
        for layer in layers:
            known = [p for p, s in sites(plan.params).items() if f"norm_{layer}" in s]
            found = matches(where, known, f"{name}: where, with {layer!r},")
            for kind in get_args(Order):
                own = [p for p in found if (order or order_of(plan.params, p)) == kind]
                if own:
                    patch = f"{name}_{layer}"
                    plan = graft(exactly(own), patch, make_at(layer, kind))(key, plan)
        return plan

    return transfer


def order_of(params: Params, block: str) -> Order:
    """Pre-norm blocks need a norm behind the last one; post-norm ones have none."""
    beside = block.rpartition("blocks/")[0].rstrip("/")
    return "pre" if "norm" in get(params, beside) else "post"


def check_adapter(
    reduction: float,
    width: int | None,
    reads: str,
    order: str | None,
    activation: Any,
    scale: Any,
    init: str,
) -> None:
    """Raise for what no adapter can be."""
    if not reduction > 0:
        raise ValueError(f"adapter: reduction is {reduction}, expected more than 0")
    if width is not None and width < 1:
        raise ValueError(f"adapter: width is {width}, expected 1 or more")
    one_of("adapter: reads", reads, get_args(Reads))
    if order is not None:
        one_of("adapter: order", order, get_args(Order))
    if isinstance(activation, str):
        one_of("adapter: activation", activation, ACTIVATIONS)
    if isinstance(scale, str):
        one_of("adapter: scale", scale, ("learned", "channel"))
    check_init(init)
