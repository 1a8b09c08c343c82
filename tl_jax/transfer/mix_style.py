"""Styles mixed within a batch: means and deviations of maps, not their shapes."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.transfer.graft import graft
from tl_jax.tree import node, one_of, static
from tl_jax.types import Array, Key, Params, Transfer

Partners = Literal["random", "across"]
Point = Literal["map", "tokens"]


@node
class MixStyle:
    """Rows take on a mixture of their own and a partner's mean and deviation."""

    rates: ClassVar[Mapping[str, float]] = {}
    point: str = static("map")
    share: float = static(0.5)
    alpha: float = static(0.1)
    epsilon: float = static(1e-6)
    partners: str = static("random")

    def __call__(
        self, site: Params, value: Array, *, x: Any = None, key: Key | None = None
    ) -> Array:
        """The maps, in training some of them in other styles. [B ... D]."""
        if key is None:
            return value
        chance, draws, rows = jax.random.split(key, 3)
        mix = jax.random.beta(draws, self.alpha, self.alpha, (len(value),))
        styled = mixed_styles(value, mix, self.order(rows, len(value)), self.epsilon)
        return jnp.where(jax.random.bernoulli(chance, self.share), styled, value)

    def order(self, key: Key, count: int) -> Array:
        """[B] each row's partner. Raises ValueError for an odd number across halves."""
        if self.partners == "random":
            return jax.random.permutation(key, count)
        if count % 2:
            raise ValueError(f"mix_style across two halves: there are {count} rows")
        first, second = jax.random.split(key)
        half = count // 2
        later = half + jax.random.permutation(first, half)
        return jnp.concatenate([later, jax.random.permutation(second, half)])


def mixed_styles(
    x: Array, share: Array, partner: Array, epsilon: float = 1e-6
) -> Array:
    """(x - m) / s (l s + (1 - l) s') + l m + (1 - l) m', styles without a gradient.

    m and s are the mean and the deviation of each row and channel over its places, the
    latter sqrt(unbiased variance + epsilon), m' and s' those of the partner.
    x [B ... D], share l [B], partner [B] -> [B ... D], in x's dtype.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    over = tuple(range(1, x.ndim - 1))
    mean = wide.mean(over, keepdims=True)
    count = wide[0].size // x.shape[-1]
    var = wide.var(over, keepdims=True) * (count / max(count - 1, 1))
    deviation = jnp.sqrt(var + epsilon)
    mean, deviation = jax.lax.stop_gradient((mean, deviation))
    own = share.reshape(-1, *(1,) * (x.ndim - 1))

    def mixed(style: Array) -> Array:
        return own * style + (1 - own) * style[partner]

    return ((wide - mean) / deviation * mixed(deviation) + mixed(mean)).astype(x.dtype)


def mix_style(
    where: str = "blocks/[01]",
    share: float = 0.5,
    alpha: float = 0.1,
    *,
    partners: Partners = "random",
    point: Point = "map",
    epsilon: float = 1e-6,
    name: str = "mix_style",
) -> Transfer:
    """Mix the styles of rows in training, behind matching blocks (Zhou et al., 2021).

    A step does so with probability `share`, by l ~ Beta(alpha, alpha) for each row
    (`mixed_styles`). Without a key, as in `predict`, nothing happens. Partners are a
    permutation of the batch, or "across" from its other half, which is how a joint
    batch of source and target as large holds its domains. At `point="map"` blocks of
    convolutional networks, early ones in the paper; at "tokens" a transformer's, by the
    means over all tokens. Like a batch norm it counts every row, padding too.

    TLlib's `MixStyle` is "across" alone, and reverses halves of several domains in
    turn; the authors have both. There is nothing to learn and nothing to fold.

    Raises ValueError for a share outside 0..1 or an alpha that is not positive, and
    `NoMatch` for other partners, points or blocks.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"{name}: share is {share}, expected 0..1")
    if not alpha > 0:
        raise ValueError(f"{name}: alpha is {alpha}, expected more than 0")
    one_of(f"{name}: partners", partners, get_args(Partners))
    one_of(f"{name}: point", point, get_args(Point))

    def make(key: Key, site: Params) -> MixStyle:
        return MixStyle(point, share, alpha, epsilon, partners)

    return graft(where, name, make)
