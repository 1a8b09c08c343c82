"""The causal model: what a token sees, padding, heads, stacks, patches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import transfer, tree
from tl_jax.models import llama
from tl_jax.models.llama import SIZES
from tl_jax.tree import node
from tl_jax.types import Array

SMALL = dict(vocabulary=23, width=16, depth=3, heads=4, kv_heads=2, hidden=24)
TOKENS = np.random.default_rng(0).integers(1, 23, (2, 6))
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def made(seed=0, **options):
    """A model whose every weight, norms too, is random and not small."""
    model = llama(**SMALL | options)
    params, _ = model.init(jax.random.key(seed))
    rng = np.random.default_rng(seed)
    return model, jax.tree.map(
        lambda leaf: leaf + 0.2 * rng.normal(size=leaf.shape).astype(np.float32), params
    )


@partial(jax.jit, static_argnums=0)
def compiled(apply, params, inputs):
    return apply(params, {}, inputs)[0]


def run(model, params, tokens=TOKENS, **inputs):
    return compiled(model.apply, params, {"tokens": tokens, **inputs})


def test_shapes_and_the_tree_of_the_small_and_the_named():
    model, params = made(head_width=6)
    out = run(model, params)
    assert out.logits.shape == (2, 6, 23)
    assert out.tokens.shape == (2, 6, 16)
    assert out.features.shape == (2, 16)
    assert [h.shape for h in out.hidden] == [(2, 6, 16)] * 4
    attention = params["blocks"]["0"]["attention"]
    shapes = {name: site["kernel"].shape for name, site in attention.items()}
    assert shapes["query"] == shapes["output"][::-1] == (16, 24)
    assert shapes["key"] == shapes["value"] == (16, 12)
    sizes = llama(**SIZES["tinyllama"])
    assert tree.count(jax.eval_shape(sizes.init, jax.random.key(0))[0]) == 1_100_048_384


def test_jit_is_eager():
    model, params = made()
    eager, _ = model.apply(params, {}, {"tokens": TOKENS})
    found = run(model, params)
    np.testing.assert_allclose(found.logits, eager.logits, **CLOSE)
    np.testing.assert_allclose(found.features, eager.features, **CLOSE)


@pytest.mark.parametrize("at", range(6))
def test_a_later_token_never_changes_what_is_earlier(at):
    model, params = made()
    other = TOKENS.copy()
    other[:, at] = other[:, at] % 22 + 1
    before, after = run(model, params), run(model, params, other)
    np.testing.assert_array_equal(before.logits[:, :at], after.logits[:, :at])
    assert np.abs(before.logits - after.logits)[:, at:].max((0, 2)).min() > 1e-3


@pytest.mark.parametrize("places", [(0, 3), (3, 0), (2, 1)])
def test_padding_on_any_side_changes_no_real_token(places):
    front, back = places
    model, params = made()
    plain = run(model, params)
    wide = np.pad(TOKENS, ((0, 0), (front, back)))
    mask = np.pad(np.ones_like(TOKENS), ((0, 0), (front, back)))
    found = run(model, params, wide, mask=mask)
    own = slice(front, front + 6)
    np.testing.assert_allclose(found.logits[:, own], plain.logits, **CLOSE)
    np.testing.assert_allclose(found.features, plain.features, **CLOSE)
    assert all(np.isfinite(h).all() for h in found.hidden)


def test_padding_in_the_midst_and_given_positions():
    model, params = made()
    hole = np.insert(TOKENS, 3, 0, axis=1)
    mask = np.insert(np.ones_like(TOKENS), 3, 0, axis=1)
    found, plain = run(model, params, hole, mask=mask), run(model, params)
    kept = np.delete(found.logits, 3, axis=1)
    np.testing.assert_allclose(kept, plain.logits, **CLOSE)
    shifted = run(model, params, positions=np.arange(6)[None] + 5)
    np.testing.assert_allclose(shifted.logits, plain.logits, **CLOSE)
    apart = run(model, params, positions=3 * np.arange(6)[None])
    assert np.abs(apart.logits - plain.logits).max() > 1e-2


def test_features_are_the_last_real_tokens():
    model, params = made()
    mask = np.array([[1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]])
    out = run(model, params, mask=mask)
    np.testing.assert_array_equal(out.features[0], out.tokens[0, 3])
    np.testing.assert_array_equal(out.features[1], out.tokens[1, 5])
    empty = run(model, params, mask=np.zeros_like(mask))
    assert np.isfinite(empty.features).all()


def test_a_tied_head_is_the_embedding_and_one_leaf():
    model, params = made(tied=True)
    assert "head" not in params
    out = run(model, params)
    table = params["embed"]["tokens"]["embedding"]
    np.testing.assert_allclose(out.logits, out.tokens @ table.T, **CLOSE)
    untied, _ = made()
    own = params | {"head": {"kernel": table.T}}
    np.testing.assert_allclose(run(untied, own).logits, out.logits, **CLOSE)
    assert run(untied, params).logits is None


def test_a_head_over_sequences_reads_the_features():
    model, params = made(over="sequence", tied=True)
    assert run(model, params).logits is None
    head = transfer.new_head(3, 16)
    plan = head(jax.random.key(1), transfer.full(params))
    out, site = run(model, plan.params), plan.params["head"]
    want = out.features @ site["kernel"] + site["bias"]
    np.testing.assert_allclose(out.logits, want, **CLOSE)


def slopes(model, params):
    def value(params):
        out, _ = model.apply(params, {}, {"tokens": TOKENS})
        return jnp.square(out.logits).mean()

    return jax.jit(jax.value_and_grad(value))(params)


def test_stacked_is_single_with_and_without_recomputation():
    model, params = made()
    again = llama(**SMALL, remat=True)
    stacked = transfer.stack_layers(transfer.full(params)).params
    assert set(stacked["blocks"]) == {"0-2"}
    value, want = slopes(model, params)
    want = transfer.stack_layers(transfer.full(want)).params
    for other, tree_of in ((model, stacked), (again, stacked), (again, params)):
        found, got = slopes(other, tree_of)
        np.testing.assert_allclose(found, value, rtol=1e-5)
        if tree_of is params:
            got = transfer.stack_layers(transfer.full(got)).params
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    hidden = run(model, stacked).hidden
    for a, b in zip(hidden, run(model, params).hidden, strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@pytest.mark.parametrize("site", ["attention/key", "attention/output", "mlp/gate"])
def test_lora_changes_nothing_and_gets_a_gradient(site):
    model, params = made()
    add = transfer.lora(2, f"blocks/[02]/{site}")
    plan = add(jax.random.key(1), transfer.full(params))
    before, after = run(model, params).logits, run(model, plan.params).logits
    np.testing.assert_allclose(after, before, **CLOSE)
    _, got = slopes(model, plan.params)
    for i in "02":
        patch = tree.get(got, f"blocks/{i}/{site}")["patch"]["lora"]
        assert np.abs(patch.b).max() > 1e-6


@node
class Front:
    """Keys and values [P G*d] in front of every row's."""

    point = "kv"
    rates = {}  # noqa: RUF012
    keys: Array
    values: Array

    def __call__(self, site, value, *, x=None, key=None):
        k, v, mask = value

        def joined(new, old):
            new = new.reshape(len(new), old.shape[1], -1).swapaxes(0, 1)
            new = jnp.broadcast_to(new, (len(old), *new.shape))
            return jnp.concatenate([new, old], axis=2)

        seen = jnp.ones((len(mask), len(self.keys)), bool)
        mask = jnp.concatenate([seen, mask], axis=1)
        return joined(self.keys, k), joined(self.values, v), mask


def test_a_prefix_is_seen_by_every_token():
    """Keys that score nothing and zero values: the rest is divided by more."""
    model, params = made(depth=1)
    keys = jnp.zeros((2, 8))

    def with_values(values):
        patched = tree.put(params, "blocks/0/attention/patch/p", Front(keys, values))
        return run(model, patched)

    none, some = with_values(jnp.zeros((2, 8))), with_values(jnp.ones((2, 8)))
    plain = run(model, params)
    for a, b in ((none, plain), (some, none)):
        assert np.abs(a.tokens - b.tokens).max((0, 2)).min() > 1e-3
    other = TOKENS.copy()
    other[:, 4] = other[:, 4] % 22 + 1
    patched = tree.put(params, "blocks/0/attention/patch/p", Front(keys, keys + 1))
    changed = run(model, patched, other)
    np.testing.assert_array_equal(changed.logits[:, :4], some.logits[:, :4])


@node
class Prompt:
    """Tokens [P D] in front, at positions below zero or at none."""

    point = "sequence"
    rates = {}  # noqa: RUF012
    tokens: Array
    placed: bool = tree.static(True)

    def __call__(self, site, value, *, x=None, key=None):
        x, mask, at = value
        count = len(self.tokens)
        new = jnp.broadcast_to(self.tokens, (len(x), *self.tokens.shape))
        if self.placed:
            front = jnp.broadcast_to(jnp.arange(-count, 0), (len(at), count))
            at = jnp.concatenate([front, at], axis=1)
        seen = jnp.ones((len(x), count), bool)
        return (
            jnp.concatenate([new, x], 1),
            jnp.concatenate([seen, mask], 1),
            at,
        )


def test_a_prompt_of_embeddings_is_those_tokens():
    model, params = made()
    table = params["embed"]["tokens"]["embedding"]
    patched = tree.put(params, "embed/patch/p", Prompt(table[TOKENS[0, :2]]))
    rest = np.stack([TOKENS[0, 2:]] * 2)
    got, want = run(model, patched, rest), run(model, params)
    np.testing.assert_allclose(got.logits[0], want.logits[0, 2:], **CLOSE)
    bare = tree.put(params, "embed/patch/p", Prompt(table[:2], placed=False))
    with pytest.raises(ValueError, match="8 tokens in a row, but 6 positions"):
        run(model, bare)


def test_bfloat16_is_near_and_scores_in_float32():
    model, params = made()
    short = llama(**SMALL, dtype=jnp.bfloat16)
    plain, out = run(model, params), run(short, params)
    assert out.logits.dtype == out.features.dtype == jnp.float32
    far = np.abs(plain.logits - out.logits).max() / np.abs(plain.logits).max()
    assert 1e-5 < far < 3e-2


def test_dropout_of_attention_needs_a_key():
    model, params = made(attention_rate=0.5)
    inputs = {"tokens": TOKENS}
    dropped, _ = model.apply(params, {}, inputs, key=jax.random.key(0))
    assert np.abs(dropped.logits - run(model, params).logits).max() > 1e-2
    plain, _ = made()
    np.testing.assert_array_equal(run(plain, params).logits, run(model, params).logits)


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(heads=3), "heads 3 are no multiple of kv_heads 2"),
        (dict(heads=6), "width 16 is no multiple of 6 heads"),
        (dict(heads=16), "1 wide, expected an even number"),
        (dict(head_width=5), "5 wide, expected an even number"),
        (dict(over="words"), "known: vocabulary, sequence"),
    ],
)
def test_bad_settings(options, text):
    with pytest.raises(ValueError, match=text):
        llama(**SMALL | options)
