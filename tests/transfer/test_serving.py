"""A batch of several adapters is each example with its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.models import bert
from tl_jax.transfer import (
    Bank,
    bank,
    chain,
    full,
    ia3,
    lora,
    prefix,
    prompt,
    route,
)
from tl_jax.tree import NoMatch, flatten

QV = r"blocks/\d+/attention/(query|value)"
METHODS = {
    "lora": lambda i: lora(1 + i, QV, 4.0 + i),
    "ia3": lambda i: ia3(),
    "prefix": lambda i: prefix(2),
    "two": lambda i: chain(lora(2, QV), ia3(), lora(1 + i, ".*/up", name="more")),
}


@pytest.fixture(scope="module")
def model():
    size = {"vocabulary": 20, "width": 8, "depth": 2, "heads": 2, "hidden": 16}
    return bert(positions=8, **size)


@pytest.fixture(scope="module")
def base(model):
    return full(*model.init(jax.random.key(0)))


def adapters(base, method: str, count: int = 3) -> list:
    """Adapters of one base with values that no initialiser makes."""
    rng, made = np.random.default_rng(1), []
    for i in range(count):
        plan = METHODS[method](i)(jax.random.key(i), base)
        known = flatten(base.params)

        def moved(keys, leaf, known=known):
            at = jax.tree_util.keystr(keys, simple=True, separator="/")
            noise = 0.5 * rng.standard_normal(leaf.shape, np.float32)
            return leaf if at in known else leaf + noise

        made.append(jax.tree_util.tree_map_with_path(moved, plan.params))
    return made


def batch(rows: int = 5) -> dict:
    rng = np.random.default_rng(0)
    mask = np.ones((rows, 6), bool)
    mask[1, 4:] = False
    return {"tokens": jnp.asarray(rng.integers(0, 20, (rows, 6))), "mask": mask}


@pytest.mark.parametrize("method", METHODS)
def test_each_example_has_its_own_adapter(method, model, base):
    own, inputs = adapters(base, method), batch()
    served = bank(own)
    run = jax.jit(lambda p, x: model.apply(p, {}, x)[0].features)
    traced = []

    @jax.jit
    def serve(params, ids, inputs):
        traced.append(ids)
        return model.apply(route(params, ids), {}, inputs)[0].features

    alone = [np.asarray(run(params, inputs)) for params in own]
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    for ids in ([0, 1, 2, 1, 0], [2, 2, 2, 2, 0]):
        got = serve(served, jnp.asarray(ids), inputs)
        want = np.stack([alone[i][row] for row, i in enumerate(ids)])
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
    assert len(traced) == 1


def test_banks_are_padded_and_share_the_base(base):
    own = adapters(base, "lora")
    served = bank(own)
    site = served["blocks"]["0"]["attention"]["query"]
    assert isinstance(site["patch"]["lora"], Bank)
    assert site["patch"]["lora"].patches.a.shape == (3, 8, 3)
    assert site["kernel"] is base.params["blocks"]["0"]["attention"]["query"]["kernel"]


def test_what_can_not_be_served_raises(model, base):
    own = adapters(base, "lora", 2)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"needs route\(params, ids\) first"):
        model.apply(bank(own), {}, batch())
    with pytest.raises(ValueError, match=r"ids are \[2\], expected \[5\]"):
        model.apply(route(bank(own), jnp.asarray([0, 1])), {}, batch())
    with pytest.raises(ValueError, match="expected integers"):
        route(bank(own), jnp.ones(5))
    with pytest.raises(ValueError, match="hold no bank"):
        route(own[0], jnp.asarray([0]))
    with pytest.raises(ValueError, match="no adapters"):
        bank([])
    with pytest.raises(NoMatch, match="patch 'lora' matches nothing"):
        bank([own[0], base.params])
    words = prompt(2)(key, base).params
    with pytest.raises(ValueError, match="does not map examples one by one"):
        bank([words, words])
    other = jax.tree.map(lambda x: x + 1, own[1])
    with pytest.raises(
        ValueError, match="adapter 1 differs from adapter 0 at 'blocks/"
    ):
        bank([own[0], other])
