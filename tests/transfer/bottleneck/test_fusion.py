"""AdapterFusion: AdapterHub's record, a loop by hand, what is frozen or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transfer import peers
from tests.transfer.bottleneck import hub
from tl_jax import pretrained
from tl_jax.transfer import (
    Adapter,
    Fusion,
    adapter_fusion,
    chain,
    compacter,
    fusion_penalty,
    houlsby,
    pfeiffer,
    stack_layers,
)
from tl_jax.tree import NoMatch, flatten, get, put

KEY = jax.random.key(0)
TWO = chain(pfeiffer(2, name="a"), pfeiffer(2, name="b"))
FUSED = chain(TWO, adapter_fusion(("a", "b")))


def test_it_is_what_adapterhub_recorded(golden):
    base = pretrained.load(golden / "bert" / "bert_sequence")
    values = peers.recorded(golden / "adapters.npz", "fusion/")
    peers.agrees(base, FUSED, values, hub.ours("a"))


def test_a_mixture_by_hand():
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), "float32")  # noqa: E731
    part = lambda i, o: {"kernel": draw(i, o), "bias": draw(o)}  # noqa: E731
    own = {
        f"{n}_mlp": Adapter(part(3, 2), part(2, 3), jnp.float32(1), fused=True)
        for n in "ab"
    }
    node = Fusion(part(3, 3), part(3, 3), {"kernel": draw(3, 3)}, None, tuple(own))
    y = draw(1, 2, 3)
    x = (draw(1, 2, 3), None)
    found = node({"patch": own}, y, x=x, key=None)
    for token in range(2):
        h = y[0, token]
        added = [
            jax.nn.relu(h @ a.down["kernel"] + a.down["bias"]) @ a.up["kernel"]
            + a.up["bias"]
            for a in own.values()
        ]
        asked = h @ node.query["kernel"] + node.query["bias"]
        scores = [asked @ (a @ node.key["kernel"] + node.key["bias"]) for a in added]
        shares = np.exp(scores) / np.exp(scores).sum()
        mixed = sum(
            p * (a @ node.value["kernel"]) for p, a in zip(shares, added, strict=True)
        )
        np.testing.assert_allclose(found[0, token], h + mixed, rtol=1e-4, atol=1e-5)


def test_adapters_stay_where_they_are_and_rest(tiny_bert, tokens):
    before, plan = (peers.grafted(tiny_bert, m) for m in (TWO, FUSED))
    old, new = flatten(before.params), flatten(plan.params)
    for path, leaf in old.items():
        np.testing.assert_array_equal(new[path], leaf)
    moving = {path for path, rate in flatten(plan.rates).items() if rate}
    assert moving == {p for p in new if "fusion_mlp" in p}
    node = get(plan.params, "blocks/0")["patch"]["fusion_mlp"]
    np.testing.assert_allclose(node.value["kernel"], np.eye(16), atol=2e-6)
    # Equal adapters mix to either of them, whatever the shares are.
    alone = peers.grafted(tiny_bert, pfeiffer(2, name="a"))
    noise = lambda w: w + 0.3 * jax.random.normal(KEY, w.shape)  # noqa: E731
    fused = plan.params
    for block in ("blocks/0", "blocks/1"):
        one = jax.tree.map(noise, get(alone.params, block)["patch"]["a_mlp"])
        alone = alone._replace(params=put(alone.params, f"{block}/patch/a_mlp", one))
        silent = get(fused, block)["patch"]["a_mlp"]
        same = jax.tree.unflatten(jax.tree.structure(silent), jax.tree.leaves(one))
        for name in "ab":
            fused = put(fused, f"{block}/patch/{name}_mlp", same)
    run = jax.jit(lambda params: tiny_bert.model.apply(params, {}, tokens)[0].features)
    np.testing.assert_allclose(run(fused), run(alone.params), rtol=1e-4, atol=1e-4)
    stacked = stack_layers(plan._replace(params=fused)).params
    assert list(stacked["blocks"]) == ["0-1"]
    np.testing.assert_allclose(run(stacked), run(fused), rtol=1e-4, atol=1e-5)


def test_of_adapters_that_add_nothing_it_adds_nothing(tiny_bert, tokens):
    idle = [pfeiffer(2, name=n, init="zero") for n in "ab"]
    plan = peers.grafted(tiny_bert, chain(*idle, adapter_fusion(("a", "b"))))
    found = tiny_bert.model.apply(plan.params, {}, tokens)[0].features
    want = tiny_bert.model.apply(tiny_bert.params, {}, tokens)[0].features
    np.testing.assert_allclose(found, want, atol=1e-6)


def test_kinds_mix_and_the_value_may_be_left_out(tiny_bert, tokens):
    every = chain(
        houlsby(2, name="a"),
        compacter(2, name="b"),
        adapter_fusion(("a", "b"), value=False, rate=0.1),
    )
    plan = peers.grafted(tiny_bert, every)
    names = set(get(plan.params, "blocks/0")["patch"])
    assert {"fusion_attention", "fusion_mlp"} < names
    assert "value" not in "".join(p for p in flatten(plan.params) if "fusion" in p)
    found = tiny_bert.model.apply(plan.params, {}, tokens, key=KEY)[0].features
    assert np.isfinite(found).all()
    assert float(fusion_penalty(plan.params)) == 0


def test_the_penalty_is_the_distance_from_the_identity(tiny_bert):
    plan = peers.grafted(tiny_bert, FUSED)
    at = "blocks/1/patch/fusion_mlp"
    node = get(plan.params, "blocks/1")["patch"]["fusion_mlp"]
    kernel = node.value["kernel"].at[0, 1].set(3.0)
    moved = put(plan.params, at, type(node)(node.query, node.key, {"kernel": kernel}))
    assert float(fusion_penalty(moved)) == pytest.approx(0.09, rel=1e-4)


def test_bad_plans_raise_with_both_names(tiny_bert):
    def build(*methods):
        return peers.grafted(tiny_bert, chain(*methods))

    with pytest.raises(NoMatch, match="adapters 'a, c' matches nothing"):
        build(adapter_fusion(("a", "c")))
    with pytest.raises(ValueError, match="mlp has an adapter a, but none of c"):
        build(TWO, adapter_fusion(("a", "c")))
    with pytest.raises(ValueError, match="'blocks/0/patch/a_mlp' is fused already"):
        build(FUSED, adapter_fusion(("a", "b"), name="second"))
    with pytest.raises(ValueError, match="expected two adapters or more"):
        adapter_fusion(("a", "a"))
