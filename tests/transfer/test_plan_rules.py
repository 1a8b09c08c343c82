"""Rules of plans: no match, names that are taken, rates by block, tied leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.models import bert
from tl_jax.transfer import (
    chain,
    freeze,
    full,
    layerwise,
    lora,
    merge,
    partition,
    rate,
    trainable,
)
from tl_jax.tree import NoMatch, flatten


@pytest.mark.parametrize(
    "method",
    [freeze("blocks/9/.*"), rate("haed/.*", 1.0), lora(2, "blocks/0/atention")],
)
def test_a_rule_without_match_names_the_nearest(method, base):
    with pytest.raises(NoMatch, match=r"matches nothing; nearest: (blocks/|head)"):
        method(jax.random.key(0), base)


def test_a_taken_name_raises(base):
    with pytest.raises(ValueError, match="'blocks/0/mlp/up/patch/lora' is taken"):
        chain(lora(1, "blocks/0/mlp/up"), lora(1, ".*/up"))(jax.random.key(0), base)


def test_layerwise_goes_by_the_block_number(base):
    rates = flatten(layerwise(0.5)(jax.random.key(0), base).rates)
    assert rates["head/kernel"] == 1.0
    assert rates["blocks/2/mlp/up/kernel"] == 0.5
    assert rates["blocks/0/mlp/up/kernel"] == 0.125
    assert rates["embed/tokens/embedding"] == 0.0625
    deep = bert(vocabulary=4, width=4, depth=11, heads=1, hidden=4, positions=4)
    plan = full(*deep.init(jax.random.key(0)))
    rates = flatten(layerwise(0.5)(jax.random.key(0), plan).rates)
    assert rates["blocks/10/mlp/up/kernel"] == 0.5
    assert rates["blocks/2/mlp/up/kernel"] == 0.5**9


def test_tied_leaves_stay_tied(batch):
    tied = bert(
        vocabulary=40,
        width=16,
        depth=1,
        heads=2,
        hidden=32,
        positions=12,
        over="vocabulary",
        rate=0.0,
        attention_rate=0.0,
    )
    params, _ = tied.init(jax.random.key(0))
    dense = {"kernel": jnp.eye(16), "bias": jnp.zeros(16)}
    norm = {"scale": jnp.ones(16), "bias": jnp.zeros(16)}
    params["head"] = {"hidden": dense, "norm": norm, "bias": jnp.zeros(40)}

    def loss(params):
        out = tied.apply(params, {}, batch["inputs"])[0]
        return out.logits[..., 39].sum()

    # Token 39's row is moved as an output even where no input shows that token.
    tokens = jnp.where(batch["inputs"]["tokens"] == 39, 0, batch["inputs"]["tokens"])
    batch = {"inputs": {"tokens": tokens}}
    grads = jax.grad(loss)(params)
    table = grads["embed"]["tokens"]["embedding"]
    assert np.abs(table[39]).max() > 0
    assert np.abs(table[np.asarray(tokens).ravel()]).max() > 0
    plan = freeze("embed/tokens/.*")(jax.random.key(0), full(params))
    train, frozen = partition(plan.params, trainable(plan.rates))
    moving = jax.grad(lambda t: loss(merge(t, frozen)))(train)
    assert moving["embed"]["tokens"]["embedding"] is None
