"""Kernels in few bits: what they hold, cost and let through."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.models import bert
from tl_jax.transfer import (
    certified_fold,
    chain,
    dequantise,
    describe,
    fold,
    freeze,
    full,
    lora,
    merge,
    partition,
    quantise,
    rate,
    stack_layers,
    to_int8,
    to_nf4,
    totals,
    trainable,
    unfold,
)
from tl_jax.transfer.quantised.levels import DYNAMIC_8, NORMAL_4
from tl_jax.tree import NoMatch, flatten, get

GOLDEN = Path(__file__).parents[2] / "golden" / "quantised.npz"
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(33, 17)).astype(np.float32) * 0.05
KINDS = {
    "int8": dict(kind="int8"),
    "nf4": dict(kind="nf4", double=False),
    "nf4 double": dict(kind="nf4"),
}


def by_loop(kernel, *, double):
    """NF4 by plain loops over blocks, each number by its nearest level."""
    flat = kernel.T.ravel()
    blocks = [flat[i : i + 64] for i in range(0, len(flat), 64)]
    scales = np.array([np.abs(block).max() for block in blocks])
    if double:
        offset = scales.mean()
        for i in range(0, len(scales), 256):
            part = scales[i : i + 256] - offset
            top = np.abs(part).max()
            near = [np.abs(DYNAMIC_8 - v / top).argmin() for v in part]
            scales[i : i + 256] = DYNAMIC_8[near] * top + offset
    found = []
    for block, scale in zip(blocks, scales, strict=True):
        top = np.abs(block).max()
        found += [NORMAL_4[np.abs(NORMAL_4 - v / top).argmin()] * scale for v in block]
    return np.array(found, np.float32).reshape(kernel.T.shape).T


@pytest.mark.parametrize("double", [False, True])
def test_nf4_is_the_nearest_level_of_each_block(double):
    made = to_nf4(jnp.asarray(KERNEL), double=double)
    want = by_loop(KERNEL, double=double)
    np.testing.assert_allclose(made.dequantise(), want, atol=1e-7)
    assert made.shape == KERNEL.shape
    assert np.abs(want - KERNEL).max() < 0.16 * np.abs(KERNEL).max()


def test_nf4_is_bitsandbytes():
    golden = np.load(GOLDEN)
    for name in ("small", "large"):
        kernel = golden[f"{name}/kernel"]
        plain = to_nf4(jnp.asarray(kernel), double=False)
        np.testing.assert_array_equal(plain.codes, golden[f"{name}/codes"])
        np.testing.assert_allclose(plain.scales, golden[f"{name}/scales"], rtol=1e-7)
        nested = to_nf4(jnp.asarray(kernel))
        np.testing.assert_allclose(nested.offset, golden[f"{name}/offset"], rtol=1e-6)
        theirs = golden[f"{name}/nested_codes"].astype(int)
        gap = np.abs(np.asarray(nested.scales, int) - theirs)
        assert gap.max() <= 1
        assert (gap > 0).mean() < 0.01


def test_int8_is_within_half_a_step_of_each_column():
    made = to_int8(jnp.asarray(KERNEL))
    step = np.abs(KERNEL).max(0) / 127
    assert (np.abs(made.dequantise() - KERNEL) <= step / 2 + 1e-7).all()
    assert np.abs(made.codes).max(0).min() == 127


def test_a_kernel_of_zeros_stays_so():
    for make in (to_int8, to_nf4):
        found = make(jnp.zeros((8, 5))).dequantise()
        np.testing.assert_array_equal(found, np.zeros((8, 5)))


def test_bits_of_a_weight():
    kernel = jnp.asarray(RNG.normal(size=(512, 512)), jnp.float32)

    def bits(made):
        return 8 * sum(x.nbytes for x in jax.tree.leaves(made)) / kernel.size

    assert bits(to_nf4(kernel, double=False)) == 4.5
    assert abs(bits(to_nf4(kernel)) - 4.127) < 1e-3
    assert abs(bits(to_int8(kernel)) - 8.0625) < 1e-6


@pytest.fixture(scope="module")
def model():
    size = dict(vocabulary=40, width=16, depth=2, heads=2, hidden=32, positions=12)
    return bert(**size, rate=0.0, attention_rate=0.0)


@pytest.fixture(scope="module")
def base(model):
    return full(*model.init(jax.random.key(0)))


INPUTS = {"tokens": jnp.asarray(RNG.integers(0, 40, (3, 7)))}
ADAPT = lora(2, r"blocks/\d+/attention/(query|value)")


def features(model, params):
    return model.apply(params, {}, INPUTS)[0].features


def moved(plan):
    """A plan whose LoRA does something."""
    train, frozen = partition(plan.params, trainable(plan.rates))
    train = jax.tree.map(lambda x: x + 0.1, train)
    return plan._replace(params=merge(train, frozen))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_computes_with_the_values_of_its_codes(kind, model, base):
    plan = quantise(**KINDS[kind])(jax.random.key(1), base)
    plain = dequantise()(jax.random.key(1), plan)
    got, want = features(model, plan.params), features(model, plain.params)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert 1e-5 < np.abs(got - features(model, base.params)).max() < 0.3
    jitted = jax.jit(lambda params: features(model, params))(plan.params)
    np.testing.assert_allclose(jitted, got, atol=1e-5)
    assert len([p for p in flatten(plan.params) if p.endswith("kernel/codes")]) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_qlora_moves_the_patches_alone(kind, model, base):
    method = chain(freeze(".*"), quantise(**KINDS[kind]), ADAPT)
    plan = moved(method(jax.random.key(1), base))
    train, frozen = partition(plan.params, trainable(plan.rates))
    assert {path.rpartition("/")[2] for path in flatten(train)} == {"a", "b"}

    def loss(train, frozen):
        return jnp.square(features(model, merge(train, frozen))).sum()

    got = jax.grad(loss)(train, frozen)
    plain = dequantise()(jax.random.key(1), plan)
    want = jax.grad(loss)(*partition(plain.params, trainable(plain.rates)))
    for path, value in flatten(want).items():
        np.testing.assert_allclose(flatten(got)[path], value, rtol=1e-4, atol=1e-5)


def test_the_backward_pass_keeps_codes_and_no_kernel(model, base):
    """What is kept between the passes has no array of a kernel's size."""
    method = chain(freeze(".*"), quantise(), ADAPT)
    plan = method(jax.random.key(1), base)
    train, frozen = partition(plan.params, trainable(plan.rates))

    def loss(train):
        return features(model, merge(train, frozen)).sum()

    kept = jax.tree.leaves(jax.vjp(loss, train)[1])
    assert not [x.shape for x in kept if x.shape in ((16, 32), (32, 16), (16, 16))]
    bare = dequantise()(jax.random.key(1), plan)
    train, frozen = partition(bare.params, trainable(bare.rates))
    kept = jax.tree.leaves(jax.vjp(loss, train)[1])
    assert [x.shape for x in kept if x.shape == (16, 32)]


def test_stacked_blocks_compute_the_same(model, base):
    plan = quantise()(jax.random.key(1), base)
    stacked = stack_layers(plan)
    got, want = features(model, stacked.params), features(model, plan.params)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_folding_is_onto_the_values_of_the_codes(kind, model, base):
    method = chain(freeze(".*"), quantise(**KINDS[kind]), ADAPT)
    plan = moved(method(jax.random.key(1), base))
    folded = fold(plan)
    got, want = features(model, folded.params), features(model, plan.params)
    np.testing.assert_allclose(got, want, atol=1e-5)
    query = get(folded.params, "blocks/0/attention/query")
    assert query["kernel"].dtype == jnp.float32
    assert "patch" not in query
    assert hasattr(get(folded.params, "blocks/0/attention/key")["kernel"], "codes")
    assert jax.tree.structure(folded.params) == jax.tree.structure(folded.rates)


def test_a_certificate_measures_and_unfolding_restores(model, base):
    plan = moved(chain(freeze(".*"), ADAPT)(jax.random.key(1), base))
    exact = certified_fold(model.apply, plan, INPUTS)
    short = certified_fold(model.apply, plan, INPUTS, dtype=jnp.bfloat16)
    assert exact.certificate.dtype == "float32"
    assert short.certificate.dtype == "bfloat16"
    assert exact.certificate.relative < 1e-5 < short.certificate.relative < 0.1
    want = np.abs(
        np.asarray(features(model, plan.params) - features(model, short.plan.params))
    )
    assert abs(short.certificate.largest - want.max()) < 1e-6
    assert abs(short.certificate.mean - want.mean()) < 1e-6
    query = get(short.plan.params, "blocks/0/attention/query")
    assert query["kernel"].dtype == jnp.bfloat16
    assert query["bias"].dtype == jnp.float32
    back = unfold(short)
    for path, leaf in flatten(plan.params).items():
        assert flatten(back.params)[path].tobytes() == leaf.tobytes()


def test_a_half_precision_base_is_summed_in_float32_and_rounded_once(model, base):
    """In bfloat16 sums a delta of a few hundredths of a rounding step is lost."""
    site = {"kernel": jnp.full((8, 8), 1.0, jnp.bfloat16)}
    params = {"a": site, "b": {"kernel": jnp.eye(8)}}
    model = nn_of_two()
    plan = full(params)
    plan = chain(freeze(".*"), lora(1, "a", name="x"), lora(1, "a", name="y"))(
        jax.random.key(0), plan
    )
    tiny = jnp.full((8, 1), 0.05), jnp.full((1, 8), 0.05 / 8)
    patches = plan.params["a"]["patch"]
    one = {n: type(p)(*tiny, p.scale, p.rate) for n, p in patches.items()}
    plan = plan._replace(params=plan.params | {"a": site | {"patch": one}})
    inputs = {"x": jnp.ones((2, 8))}
    kept = certified_fold(model.apply, plan, inputs)
    got = kept.plan.params["a"]["kernel"]
    want = np.float32(1) + 2 * 8 * np.float32(0.05) * np.float32(0.05 / 8)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, jnp.full((8, 8), want).astype(jnp.bfloat16))
    short = full(kept.original.params | {"b": {"kernel": jnp.eye(8, dtype="bfloat16")}})
    wide = certified_fold(model.apply, short, inputs, dtype=jnp.float32)
    assert wide.plan.params["a"]["kernel"].dtype == jnp.float32
    assert wide.plan.params["b"]["kernel"].dtype == jnp.bfloat16  # nothing changed it
    each = jnp.bfloat16(1) + jnp.bfloat16(8 * 0.05 * 0.05 / 8)
    assert each + jnp.bfloat16(8 * 0.05 * 0.05 / 8) != got[0, 0]


def nn_of_two():
    from tl_jax.types import Model, Outputs

    def apply(params, stats, inputs, *, key=None, norm="running"):
        y = nn.dense(params["a"], inputs["x"])
        return Outputs(nn.dense(params["b"], y)), stats

    return Model(lambda key: ({}, {}), apply, 8)


def test_what_is_wrong_is_said(model, base):
    key = jax.random.key(0)
    plan = quantise()(key, base)
    with pytest.raises(NoMatch, match="kind 'nf5'.*nf4"):
        quantise(kind="nf5")
    with pytest.raises(ValueError, match=r"blocks/0/.*kernel is NF4 already"):
        quantise()(key, plan)
    with pytest.raises(NoMatch, match="quantise: where 'blocks/0/attn'.*attention"):
        quantise("blocks/0/attn")(key, base)
    with pytest.raises(ValueError, match=r"codes' holds whole numbers \(uint8\)"):
        rate(".*", 1.0)(key, plan)
    with pytest.raises(NoMatch, match="dequantise: where"):
        dequantise()(key, base)
    with pytest.raises(ValueError, match="no patch that can be folded"):
        certified_fold(model.apply, base, INPUTS)
    assert "kernel[16, 32]" in describe(plan)
    assert totals(plan)[1] == totals(base)[1]
