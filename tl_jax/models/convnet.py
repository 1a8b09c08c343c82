"""What convolutional networks share: a walk over sites that carries statistics."""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp

from tl_jax.models.head import head
from tl_jax.nn import Running, batch_norm, conv, global_pool
from tl_jax.nn.conv import Form
from tl_jax.nn.dense import keys
from tl_jax.nn.patches import expand, patched
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.tree import one_of
from tl_jax.types import Array, Key, Model, Outputs, Params, Stats

Activation = Callable[[Array], Array]
Score = Callable[[Params, Array, Array, Key | None], Array]
"""(head's site, last map [B H W D], features [B D], key) -> logits [B C]."""


class Walk(NamedTuple):
    """Convolution, batch norm, activation, over and over.

    `stats` is the walk's own dict: each norm writes what it moved into it.
    """

    stats: Stats
    norm: str
    epsilon: float
    momentum: float
    groups: int
    form: Form
    rules: Rules

    def unit(
        self,
        site: Params,
        at: str,
        names: tuple[str, str],
        x: Array,
        activation: Activation | None = None,
        **settings: Any,
    ) -> Array:
        """activation(norm(conv(x))) of two sites under the path `at`."""
        first, second = names
        how = dict(form=self.form, rules=self.rules)
        x = conv(site[first], x, **how, **settings)
        path = f"{at}/{second}"
        x, self.stats[path] = batch_norm(
            site[second],
            self.stats[path],
            x,
            norm=self.norm,
            epsilon=self.epsilon,
            momentum=self.momentum,
            groups=self.groups,
            rules=self.rules,
        )
        return x if activation is None else activation(x)


def convnet(
    init: Callable[[Key], Params],
    stem: Callable[[Walk, Params, Array], Array],
    body: Callable[[Walk, str, Params, Array, Key | None], Array],
    last: Callable[[Walk, Params, Array], Array] | None,
    *,
    width: int,
    rate: float = 0.0,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
    pool: Callable[[Array], Array] = global_pool,
    score: Score | None = None,
) -> Model:
    """A `Model` of a stem, numbered blocks, perhaps a last layer, pooling and a head.

    Reads `image` [B H W C], already normalised. `hidden` holds the stem's map, each
    block's, and the last layer's; `features` are the pooled last one, [B D]. `score`
    is how the head reads them, by default the features alone. `form` says how
    convolutions are computed (`nn.conv`), `rules` how all is differentiated
    (`nn.rules`); raises `NoMatch` for unknown ones.
    """
    one_of("form", form, get_args(Form))
    check_rules(rules)

    def on_features(site: Params, x: Array, features: Array, key: Key | None) -> Array:
        args = dict(rate=rate, activation="relu", key=key)
        return head(site, features, **args, rules=rules)

    def start(key: Key) -> tuple[Params, Stats]:
        params = init(key)
        return params, statistics(params)

    def apply(params, stats, inputs, *, key=None, norm="running"):
        params = expand(params)
        walk = Walk(dict(stats), norm, epsilon, momentum, norm_groups, form, rules)
        k_blocks, k_head = keys(key, 2)
        x = stem(walk, params, inputs["image"].astype(dtype))
        hidden = [x]
        for name in sorted(params["blocks"], key=int):
            own = None if key is None else jax.random.fold_in(k_blocks, int(name))
            site = params["blocks"][name]
            x = patched("map", site, body(walk, name, site, x, own), key=own)
            hidden.append(x)
        if last is not None:
            x = last(walk, params, x)
            hidden.append(x)
        features, logits = pool(x), None
        if "head" in params:
            read = score or on_features
            logits = read(params["head"], x, features.astype(dtype), k_head)
            logits = logits.astype(features.dtype)
        wide = jnp.promote_types(dtype, jnp.float32)
        maps = tuple(x.astype(wide) for x in hidden)
        return Outputs(features, logits, None, maps), walk.stats

    return Model(start, apply, width)


def statistics(params: Params, at: str = "") -> Stats:
    """Means of 0 and variances of 1 for every norm below, by the path of its site."""
    found: Stats = {}
    for name, site in params.items():
        path = f"{at}/{name}" if at else name
        if not isinstance(site, dict):
            continue
        if name.startswith("norm"):
            width = site["scale"].shape[0]
            found[path] = Running(jnp.zeros(width), jnp.ones(width))
        else:
            found |= statistics(site, path)
    return found
