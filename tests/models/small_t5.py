"""A small encoder-decoder and rows for both of its sides."""

from functools import partial

import jax
import numpy as np

from tl_jax import tree
from tl_jax.models import t5

SMALL = dict(vocabulary=23, width=16, depth=3, decoder_depth=2, heads=4, hidden=24)
SMALL |= dict(buckets=8, most=12, head_width=6)
RNG = np.random.default_rng(0)
TOKENS, WRITTEN = RNG.integers(1, 23, (2, 7)), RNG.integers(1, 23, (2, 5))
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def made(seed=0, **options):
    """A model whose every weight, norms too, is random and not small."""
    model = t5(**SMALL | options)
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(seed)

    def value(path, leaf):
        centre = 1.0 if path.endswith("scale") else 0.0
        return (centre + 0.25 * rng.normal(size=leaf.shape)).astype(np.float32)

    return model, tree.map_with_path(value, shapes)


@partial(jax.jit, static_argnums=0)
def compiled(apply, params, inputs):
    """Outputs of one forward pass."""
    return apply(params, {}, inputs)[0]


def run(model, params, tokens=TOKENS, written=WRITTEN, **inputs):
    """Outputs of a model; the encoder's alone where `written` is None."""
    inputs |= {"tokens": tokens} | (
        {} if written is None else {"decoder_tokens": written}
    )
    return compiled(model.apply, params, inputs)
