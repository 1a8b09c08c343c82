"""Adapters behind modules of other libraries, which show no residual sum."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.transfer.bottleneck.adapter import Activation, Adapter, check_adapter
from tl_jax.transfer.bottleneck.initial import Init, drawn
from tl_jax.transfer.graft import graft
from tl_jax.transfer.plan import chain
from tl_jax.transfer.plan import rate as rated
from tl_jax.tree import node, one_of
from tl_jax.types import Key, Params, Transfer

Reads = Literal["branch", "stream"]


@node
class BranchAdapter:
    """An `Adapter` of what a module returns, the module being the branch."""

    point: ClassVar[str] = "branch"
    rates: ClassVar[Mapping[str, float]] = {}
    adapter: Adapter

    def __call__(self, site: Params, value: Any, *, x: Any, key: Key | None) -> Any:
        """Add the bottleneck's output. x: what the module read."""
        return self.adapter(site, value, x=(x, _as_read), key=key)


def branch_adapter(
    where: str,
    size: int,
    *,
    reduction: float = 16.0,
    width: int | None = None,
    reads: Reads = "branch",
    activation: Activation = "relu",
    scale: float | Literal["learned", "channel"] = 1.0,
    init: Init = "bert",
    rate: float = 0.0,
    name: str = "adapter",
) -> Transfer:
    """A bottleneck behind matching modules: attentions, MLPs, any of one array.

    y <- y + scale up(activation(down(h))) for what a module returns, y [... D], D being
    `size`; h is y itself (`reads="branch"`: Houlsby et al., 2019) or what the module
    read ("stream": He et al., 2022). Adapters of the sum behind a residual connection
    (Pfeiffer's) need `transfer.adapter` and a model of this library: no module shows
    that sum. All else is as `transfer.adapter` has it.

    Raises `NoMatch` with the nearest modules or names, ValueError for a width below 1.
    """
    one_of("branch_adapter: reads", reads, get_args(Reads))
    check_adapter(reduction, width, reads, "post", activation, scale, init)
    small = width or max(int(size // reduction), 1)

    def make(key: Key, site: Params) -> BranchAdapter:
        down, up = drawn(key, (size, small, size), init)
        fixed = 1.0 if isinstance(scale, str) else scale
        factor = jnp.full((size,) if scale == "channel" else (), fixed)
        how = ("branch", reads, "post", activation, rate)
        return BranchAdapter(Adapter(down, up, factor, None, *how))

    own = graft(where, name, make)
    if isinstance(scale, str):
        return own
    return chain(own, rated(rf"(.*/)?patch/{name}/adapter/scale", 0.0))


def _as_read(stream: jax.Array) -> jax.Array:
    """The norm of a branch's input: the module has read it normalised already."""
    return stream
