"""A plain multi-layer perceptron: the smallest model that has everything."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from tl_jax.nn import Running, batch_norm, dense, dropout, init_dense, init_norm
from tl_jax.nn.activations import activate
from tl_jax.nn.dense import keys
from tl_jax.nn.patches import expand
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.types import Key, Model, Outputs, Params, Stats


def mlp(
    inputs: int,
    widths: Sequence[int] = (128, 128),
    *,
    classes: int | None = None,
    activation: str = "relu",
    rate: float = 0.0,
    batch_norms: bool = False,
    field: str = "features",
    std: float | None = None,
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
) -> Model:
    """Dense layers `blocks/<i>` and a linear `head`.

    Reads `inputs[field]` [B ...], flattened to [B inputs]. `batch_norms` puts
    `blocks/<i>/norm` behind each product. Features are the last layer's values.
    `std` of the initial kernels; None is He's.
    `rules` say how all is differentiated (`nn.rules`); `NoMatch` for unknown ones.
    """
    check_rules(rules)
    shapes = list(zip([inputs, *widths[:-1]], widths, strict=True))

    def init(key: Key) -> tuple[Params, Stats]:
        *own, last = jax.random.split(key, len(shapes) + 1)
        blocks: Params = {}
        stats: Stats = {}
        for i, (d_in, d_out) in enumerate(shapes):
            blocks[str(i)] = init_dense(own[i], d_in, d_out, std)
            if batch_norms:
                blocks[str(i)]["norm"] = init_norm(d_out)
                stats[f"blocks/{i}/norm"] = Running(jnp.zeros(d_out), jnp.ones(d_out))
        params: Params = {"blocks": blocks}
        if classes is not None:
            params["head"] = init_dense(last, widths[-1], classes, std)
        return params, stats

    def apply(params, stats, inputs, *, key=None, norm="running"):
        params, stats = expand(params), dict(stats)
        x = inputs[field].reshape(len(inputs[field]), -1).astype(dtype)
        hidden = []
        for i, own in enumerate(keys(key, len(shapes))):
            site, at = params["blocks"][str(i)], f"blocks/{i}/norm"
            k_dense, k_drop = keys(own, 2)
            x = dense(site, x, key=k_dense, rules=rules)
            if at in stats:
                x, stats[at] = batch_norm(site["norm"], stats[at], x, norm=norm)
            x = dropout(activate(activation, x, rules), rate, k_drop)
            hidden.append(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
        features, logits = hidden[-1], None
        if "head" in params:
            logits = dense(params["head"], x, rules=rules).astype(features.dtype)
        return Outputs(features, logits, None, tuple(hidden)), stats

    return Model(init, apply, widths[-1])
