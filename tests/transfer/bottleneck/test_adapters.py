"""Houlsby's, Pfeiffer's and parallel adapters against AdapterHub, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transfer import peers
from tests.transfer.bottleneck import hub
from tl_jax import nn, pretrained
from tl_jax.models import bert, llama
from tl_jax.transfer import (
    Adapter,
    adapter,
    chain,
    fold,
    freeze,
    full,
    houlsby,
    ia3,
    lora,
    parallel_adapter,
    pfeiffer,
    prefix,
    stack_layers,
)
from tl_jax.tree import NoMatch, count, drop, flatten, get, paths, put

KEY = jax.random.key(0)
BERT = "bert/bert_sequence"
CASES = {
    "houlsby": (BERT, houlsby(2), "houlsby"),
    "pfeiffer": (BERT, pfeiffer(4, activation="gelu"), "pfeiffer"),
    "parallel": (BERT, parallel_adapter(), "parallel"),
    "learned": (BERT, parallel_adapter(scale="learned"), "parallel"),
    "left_out": (BERT, pfeiffer(2, "blocks/1"), "pfeiffer"),
    "llama": ("llama/llama_words", pfeiffer(2), "pfeiffer"),
    "vit": ("vision/vit_image", houlsby(2), "houlsby"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_adapterhub_recorded(golden, case):
    folder, method, patch = CASES[case]
    base = pretrained.load(golden / folder)
    values = peers.recorded(golden / "adapters.npz", f"{case}/")
    peers.agrees(base, method, values, hub.ours(patch))


def one(reads, order, **more):
    """An adapter of width 3 on 4 channels whose every number is random."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), "float32")  # noqa: E731
    down = {"kernel": draw(4, 3), "bias": draw(3)}
    up = {"kernel": draw(3, 4), "bias": draw(4)}
    kind = dict(reads=reads, order=order, activation="tanh") | more
    return Adapter(down, up, jnp.float32(0.7), **kind)


def by_hand(node, h):
    """scale up(tanh(down(h))) of one token, number by number."""
    low = [
        np.tanh(sum(h[i] * node.down["kernel"][i, j] for i in range(4)) + bias)
        for j, bias in enumerate(node.down["bias"])
    ]
    up = node.up
    return np.array(
        [
            0.7 * (sum(low[j] * up["kernel"][j, o] for j in range(3)) + up["bias"][o])
            for o in range(4)
        ]
    )


@pytest.mark.parametrize("order", ["post", "pre"])
@pytest.mark.parametrize("reads", ["branch", "sum", "stream"])
def test_what_it_reads(reads, order):
    rng = np.random.default_rng(1)
    y, stream = (rng.normal(size=(1, 2, 4)).astype("f") for _ in range(2))
    norm = lambda x: x / np.sqrt((x**2).mean(-1, keepdims=True))  # noqa: E731
    node = one(reads, order)
    found = node({}, jnp.asarray(y), x=(jnp.asarray(stream), norm), key=None)
    for token in range(2):
        h = {
            "branch": y,
            "sum": norm(y + stream) if order == "post" else y + stream,
            "stream": stream if order == "post" else norm(stream),
        }[reads][0, token]
        want = y[0, token] + by_hand(node, h)
        np.testing.assert_allclose(found[0, token], want, rtol=1e-5, atol=1e-6)


def test_dropout_is_of_the_added_part_alone():
    node = one("branch", "post", rate=0.5)
    y = jax.random.normal(KEY, (2, 50, 4))
    norm = lambda x: x  # noqa: E731
    plain = np.asarray(node({}, y, x=(y, norm), key=None) - y)
    found = np.asarray(node({}, y, x=(y, norm), key=KEY) - y)
    dropped = found == 0
    assert 0.3 < dropped.mean() < 0.7
    np.testing.assert_allclose(found[~dropped], 2 * plain[~dropped], atol=1e-5)


def test_half_precision_keeps_the_stream_and_float32_the_weights():
    node = one("sum", "pre")
    y = jax.random.normal(KEY, (2, 5, 4))
    half = y.astype(jnp.bfloat16)
    found = node({}, half, x=(half, None), key=None)
    assert found.dtype == jnp.bfloat16
    want = node({}, y, x=(y, None), key=None)
    assert peers.far(found.astype("float32"), want) < 0.02


@pytest.mark.parametrize("init", ["houlsby", "bert", "zero"])
def test_it_begins_near_the_identity(tiny_bert, tokens, init):
    plan = peers.grafted(tiny_bert, houlsby(2, init=init))
    node = get(plan.params, "blocks/0")["patch"]["houlsby_mlp"]
    largest = {"houlsby": 0.02, "zero": 0.0, "bert": 0.1}[init]
    assert np.abs(node.up["kernel"]).max() <= largest
    assert np.abs(node.down["kernel"]).max() > 0.01
    before = tiny_bert.model.apply(tiny_bert.params, {}, tokens)[0].features
    after = tiny_bert.model.apply(plan.params, {}, tokens)[0].features
    # 0.02 over 16 and 8 inputs: a change of about 0.02^2 sqrt(16 * 8) of the branch.
    assert (
        peers.far(after, before) <= {"houlsby": 1e-3, "zero": 0.0, "bert": 2e-2}[init]
    )


def test_only_adapters_move_and_their_scale_where_it_is_learned(tiny_bert):
    for scale, moves in ((4.0, False), ("learned", True), ("channel", True)):
        plan = peers.grafted(tiny_bert, parallel_adapter(8, scale=scale))
        rates = flatten(plan.rates)
        at = "blocks/1/patch/parallel_mlp"
        assert bool(rates[f"{at}/scale"]) == moves
        moving = {p for p, r in rates.items() if r and not p.endswith("scale")}
        own = {p for p in rates if f"parallel_mlp/{'down'}" in p or "mlp/up/" in p}
        assert moving == {p for p in own if "/patch/" in p}
        shape = (16,) if scale == "channel" else ()
        assert (
            get(plan.params, "blocks/1")["patch"]["parallel_mlp"].scale.shape == shape
        )


def test_the_width_is_what_adapterhub_makes_of_a_reduction(tiny_bert):
    for given, width in ((3.0, 5), (100.0, 1), (0.5, 32)):
        plan = peers.grafted(tiny_bert, pfeiffer(given, "blocks/0"))
        node = get(plan.params, "blocks/0")["patch"]["pfeiffer_mlp"]
        assert node.down["kernel"].shape == (16, width)
    plan = peers.grafted(tiny_bert, houlsby(width=7))
    assert count(get(plan.params, "blocks/0")["patch"]) == 2 * (2 * 16 * 7 + 7 + 16 + 1)


def words():
    """A pre-norm model."""
    return llama(vocabulary=20, width=16, depth=3, heads=2, hidden=24, tied=True)


def test_the_order_is_that_of_the_model_or_given(tiny_bert):
    def order(plan):
        return get(plan.params, "blocks/0")["patch"]["pfeiffer_mlp"].order

    plain = full(*words().init(KEY))
    assert order(peers.grafted(tiny_bert, pfeiffer())) == "post"
    assert order(pfeiffer()(KEY, plain)) == "pre"
    assert order(pfeiffer(order="post")(KEY, plain)) == "post"


def test_everything_on_one_model_single_stacked_and_compiled():
    """LoRA, (IA)3, a prefix and three kinds of adapters in one plan."""
    model = words()
    every = chain(
        freeze(".*"),
        lora(2, r"blocks/\d+/attention/(query|value)"),
        houlsby(4),
        pfeiffer(4),
        parallel_adapter(4),
        ia3(),
        prefix(2),
    )
    plan = every(KEY, full(*model.init(KEY)))
    rng = np.random.default_rng(0)
    moved = jax.tree.map(lambda w: w + 0.2 * rng.normal(size=w.shape), plan.params)
    moved = jax.tree.map(lambda w: w.astype("float32"), moved)
    inputs = {"tokens": jnp.arange(12).reshape(2, 6)}
    run = jax.jit(lambda params: model.apply(params, {}, inputs)[0].logits)
    whole = run(moved)
    eager = model.apply(moved, {}, inputs)[0].logits
    np.testing.assert_allclose(eager, whole, rtol=2e-5, atol=2e-5)
    stacked = stack_layers(plan._replace(params=moved))
    assert list(stacked.params["blocks"]) == ["0-2"]
    np.testing.assert_allclose(run(stacked.params), whole, rtol=2e-5, atol=2e-5)
    kept = fold(plan._replace(params=moved)).params
    np.testing.assert_allclose(run(kept), whole, rtol=2e-4, atol=2e-4)
    assert "patch" not in kept["blocks"]["0"]["attention"]["query"]
    names = set(get(kept, "blocks/0")["patch"])
    assert names == {"houlsby_attention", "houlsby_mlp", "pfeiffer_mlp", "parallel_mlp"}
    for name in (*names, "prefix", "ia3", "lora"):
        less = moved
        for path in {p.rpartition(f"/{name}/")[0] for p in paths(moved)} - {""}:
            less = drop(less, f"{path}/{name}")
        assert peers.far(run(less), whole) > 1e-3, name


def test_many_at_once(tiny_bert, tokens):
    """Three adapters under vmap are three models."""
    plan = peers.grafted(tiny_bert, pfeiffer(4, "blocks/1"))
    at = "blocks/1/patch/pfeiffer_mlp"
    nodes = [
        get(peers.grafted(tiny_bert, pfeiffer(4, "blocks/1")).params, "blocks/1")
        for _ in range(3)
    ]
    nodes = [
        jax.tree.map(lambda w, i=i: w + 0.1 * i, n["patch"]["pfeiffer_mlp"])
        for i, n in enumerate(nodes)
    ]

    def run(node):
        return tiny_bert.model.apply(put(plan.params, at, node), {}, tokens)[0].features

    found = jax.vmap(run)(jax.tree.map(lambda *w: jnp.stack(w), *nodes))
    for node, row in zip(nodes, found, strict=True):
        np.testing.assert_allclose(run(node), row, rtol=2e-5, atol=2e-5)


def test_an_activation_may_be_a_function(tiny_bert, tokens):
    named, given = (
        peers.grafted(tiny_bert, pfeiffer(4, activation=a)) for a in ("tanh", jnp.tanh)
    )
    a, b = (tiny_bert.model.apply(p.params, {}, tokens)[0] for p in (named, given))
    np.testing.assert_array_equal(a.features, b.features)


@pytest.mark.parametrize(
    "bad, message",
    [
        (dict(reduction=0), "reduction is 0, expected more than 0"),
        (dict(width=0), "width is 0, expected 1 or more"),
        (dict(activation="rleu"), "activation 'rleu' matches nothing; nearest: relu"),
        (dict(scale="learnt"), "scale 'learnt' matches nothing; nearest: learned"),
        (dict(init="houlsbi"), "init 'houlsbi' matches nothing; nearest: houlsby"),
        (dict(reads="brnch"), "reads 'brnch' matches nothing; nearest: branch"),
        (dict(order="bost"), "order 'bost' matches nothing; nearest: post"),
    ],
)
def test_bad_arguments_raise_at_once(bad, message):
    with pytest.raises(ValueError, match=message):
        adapter(**bad)


def test_bad_places_raise_with_the_nearest(tiny_bert):
    with pytest.raises(NoMatch, match="houlsby: where.* nearest: blocks/"):
        peers.grafted(tiny_bert, houlsby(where="block/0"))
    with pytest.raises(NoMatch, match="layer 'mpl' .* nearest: mlp"):
        adapter(layers="mpl")
    with pytest.raises(ValueError, match="blocks/0/patch/houlsby_attention' is taken"):
        peers.grafted(tiny_bert, chain(houlsby(), houlsby(2)))


def test_the_norm_is_that_of_the_block():
    """Pfeiffer's in a whole post-norm block, from the layers by hand."""
    model = bert(width=8, heads=2, depth=1, hidden=16, vocabulary=20, positions=9)
    plan = pfeiffer(4, activation="tanh")(KEY, full(*model.init(KEY)))
    site = get(plan.params, "blocks/0")
    bare = {k: v for k, v in site.items() if k != "patch"}
    x, mask = jax.random.normal(KEY, (2, 5, 8)), jnp.ones((2, 5), bool)
    args = dict(heads=2, epsilon=1e-5)
    norm = lambda n, x: nn.layer_norm(bare[n], x, 1e-5)  # noqa: E731
    node = site["patch"]["pfeiffer_mlp"]
    stream = norm(
        "norm_attention", x + nn.attention(bare["attention"], x, mask, heads=2)
    )
    up = nn.dense(bare["mlp"]["up"], stream)
    y = nn.dense(bare["mlp"]["down"], jax.nn.gelu(up, approximate=False))
    h = norm("norm_mlp", stream + y)
    low = jnp.tanh(h @ node.down["kernel"] + node.down["bias"])
    y = y + low @ node.up["kernel"] + node.up["bias"]
    found = nn.block(site, x, mask, **args)
    np.testing.assert_allclose(
        found, norm("norm_mlp", stream + y), rtol=1e-4, atol=1e-5
    )
