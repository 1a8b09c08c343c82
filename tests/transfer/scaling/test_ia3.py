"""(IA)3 against PEFT, by hand, folded, and counted on a model that is not there."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transfer import peers
from tl_jax import nn, pretrained
from tl_jax.models import llama
from tl_jax.models.conv4 import conv4
from tl_jax.transfer import IA3, chain, fold, freeze, full, ia3, totals
from tl_jax.tree import NoMatch, flatten, get, put

KEY = jax.random.key(0)
PLACES = {
    "attention.self.key": "attention/key",
    "attention.self.value": "attention/value",
    "output.dense": "mlp/down",
}


def ours(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """PEFT's name of a factor as a path here."""
    block, place = re.search(r"layer\.(\d+)\.(.*)\.ia3_l\.default", name).groups()
    return f"blocks/{block}/{PLACES[place]}/patch/ia3/scale", array


def test_it_is_what_peft_recorded(golden):
    base = pretrained.load(golden / "bert" / "bert_sequence")
    values = peers.recorded(golden / "ia3.npz")
    peers.agrees(base, ia3(), values, ours)


@pytest.mark.parity
def test_it_is_peft(golden):
    import record_ia3

    base = pretrained.load(golden / "bert" / "bert_sequence")
    inputs = peers.inputs_of(peers.recorded(golden / "ia3.npz"))
    values = inputs | record_ia3.reference(record_ia3.make(seed=3), inputs)
    peers.agrees(base, ia3(), values, ours)


def test_llama_3b_has_the_published_count():
    """28 x (1024 keys + 1024 values + 8192 hidden), of shapes alone."""
    model = llama(
        vocabulary=128256,
        width=3072,
        depth=28,
        heads=24,
        kv_heads=8,
        hidden=8192,
        tied=True,
    )
    params, stats = jax.eval_shape(model.init, KEY)
    plan = chain(freeze(".*"), ia3())(KEY, full(params, stats))
    assert totals(plan)[0] == 286_720


def test_outputs_are_scaled_with_their_bias_and_inputs_before_it():
    rng = np.random.default_rng(0)
    kernel, bias, x = (rng.normal(size=s).astype("f") for s in ((3, 2), 2, (4, 3)))
    site = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    for at, size in (("output", 2), ("input", 3)):
        scale = rng.normal(size=size).astype("f")
        own = put(site, "patch/ia3", IA3(jnp.asarray(scale), at))
        want = np.zeros((4, 2))
        for row in range(4):
            for o in range(2):
                for i in range(3):
                    factor = scale[i] if at == "input" else scale[o]
                    want[row, o] += x[row, i] * kernel[i, o] * factor
                want[row, o] += bias[o] * (scale[o] if at == "output" else 1)
        np.testing.assert_allclose(nn.dense(own, x), want, rtol=1e-5, atol=1e-6)


def test_only_factors_move_and_they_stay_float32(tiny_bert):
    plan = peers.grafted(tiny_bert, ia3())
    moving = {path for path, rate in flatten(plan.rates).items() if rate}
    assert moving == {p for p in flatten(plan.params) if p.endswith("ia3/scale")}
    assert len(moving) == 6
    site = get(plan.params, "blocks/0/mlp/down")
    y = nn.dense(site, jnp.ones((2, 32), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert site["patch"]["ia3"].scale.dtype == jnp.float32


@pytest.mark.parametrize("hidden", [".*/conv", "none"])
def test_channels_of_a_convolution_fold(hidden):
    model = conv4(size=4, channels=2, filters=3, depth=1, classes=2)
    params, stats = model.init(jax.random.key(1))
    plan = ia3("blocks/0/conv", hidden=hidden)(KEY, full(params, stats))
    node = get(plan.params, "blocks/0/conv")["patch"]["ia3"]
    assert node.scale.shape == ((2,) if node.point == "input" else (3,))
    scale = jax.random.normal(KEY, node.scale.shape)
    moved = put(plan.params, "blocks/0/conv/patch/ia3", IA3(scale, node.point))
    image = {"image": np.random.default_rng(0).normal(size=(2, 4, 4, 2))}
    found = model.apply(moved, stats, image)[0].logits
    folded = fold(plan._replace(params=moved)).params
    again = model.apply(folded, stats, image)[0].logits
    np.testing.assert_allclose(again, found, rtol=1e-4)
    assert "patch" not in folded["blocks"]["0"]["conv"]


def test_many_at_once(tiny_bert, tokens):
    """Three sets of factors under vmap are three models."""
    plan = peers.grafted(tiny_bert, ia3(".*/key"))
    site = "blocks/1/attention/key/patch/ia3"

    def run(scale):
        own = put(plan.params, site, IA3(scale))
        return tiny_bert.model.apply(own, {}, tokens)[0].features

    scales = 1 + jax.random.normal(KEY, (3, 16))
    found = jax.jit(jax.vmap(run))(scales)
    for scale, row in zip(scales, found, strict=True):
        np.testing.assert_allclose(run(scale), row, rtol=2e-5, atol=1e-5)


def test_bad_rules_raise(tiny_bert):
    with pytest.raises(NoMatch, match="ia3: where .*nearest: blocks/"):
        peers.grafted(tiny_bert, ia3(".*/keys"))
    with pytest.raises(ValueError, match="no regular expression"):
        ia3(hidden="(")
