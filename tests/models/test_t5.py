"""The encoder-decoder: sides, padding, tables of distances, stacks, precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_t5 import CLOSE, SMALL, TOKENS, WRITTEN, made, run

from tl_jax import transfer, tree
from tl_jax.models import t5
from tl_jax.tree import NoMatch


def test_shapes_and_the_published_count():
    model, params = made(tied=False, gated=True)
    out = run(model, params)
    assert out.logits.shape == (2, 5, 23)
    assert out.tokens.shape == (2, 5, 16)
    assert out.features.shape == (2, 16)
    assert [h.shape[1] for h in out.hidden] == [7] * 4 + [5] * 3
    small = t5(vocabulary=32128, width=512, depth=6, heads=8, hidden=2048)
    shapes = jax.eval_shape(small.init, jax.random.key(0))[0]
    assert tree.count(shapes) == 60_506_624
    params, _ = model.init(jax.random.key(0))
    spread = params["encoder"]["blocks"]["1"]["attention"]["query"]["kernel"].std()
    assert 0.6 < spread * (16 * 6) ** 0.5 < 1.2


def test_without_decoder_tokens_the_encoder_runs_alone():
    model, params = made()
    both, alone = run(model, params), run(model, params, written=None)
    assert alone.logits is None
    assert alone.tokens.shape == (2, 7, 16)
    assert len(alone.hidden) == 4
    np.testing.assert_allclose(alone.features, both.features, **CLOSE)
    np.testing.assert_allclose(alone.features, alone.tokens.mean(1), **CLOSE)
    encoder, _ = made(decoder_depth=0)
    assert encoder.decode is None
    own = {name: side for name, side in params.items() if name != "decoder"}
    found = run(encoder, own, written=None)
    np.testing.assert_array_equal(found.features, alone.features)


@pytest.mark.parametrize("at", range(5))
def test_a_later_written_token_never_changes_what_is_earlier(at):
    model, params = made()
    other = WRITTEN.copy()
    other[:, at] = other[:, at] % 22 + 1
    before, after = run(model, params), run(model, params, written=other)
    np.testing.assert_array_equal(before.logits[:, :at], after.logits[:, :at])
    assert np.abs(before.logits - after.logits)[:, at:].max((0, 2)).min() > 1e-3


def test_padding_changes_nothing_on_either_side():
    model, params = made()
    plain = run(model, params)
    for front, back in ((0, 3), (2, 0)):
        wide = np.pad(TOKENS, ((0, 0), (front, back)), constant_values=9)
        mask = np.pad(np.ones_like(TOKENS), ((0, 0), (front, back)))
        longer = np.pad(WRITTEN, ((0, 0), (0, back)), constant_values=9)
        seen = np.pad(np.ones_like(WRITTEN), ((0, 0), (0, back)))
        found = run(model, params, wide, longer, mask=mask, decoder_mask=seen)
        np.testing.assert_allclose(found.logits[:, :5], plain.logits, **CLOSE)
        np.testing.assert_allclose(found.features, plain.features, **CLOSE)
    empty = run(model, params, mask=np.zeros_like(TOKENS))
    assert np.isfinite(empty.logits).all()


def test_order_counts_by_the_tables_alone():
    """Without a bias the encoder sees a set of words."""
    model, params = made()
    even = tree.map_with_path(
        lambda path, leaf: 0 * leaf if "relative" in path else leaf, params
    )
    turned = TOKENS[:, ::-1]
    a, b = (run(model, even, x, None).features for x in (TOKENS, turned))
    np.testing.assert_allclose(a, b, **CLOSE)
    a, b = (run(model, params, x, None).features for x in (TOKENS, turned))
    assert np.abs(a - b).max() > 1e-2


def test_who_scores_words():
    tied, params = made()
    out = run(tied, params)
    table = params["embed"]["tokens"]["embedding"]
    np.testing.assert_allclose(out.logits, out.tokens @ table.T / 4, **CLOSE)
    untied, _ = made(tied=False)
    own = params | {"head": {"kernel": table.T}}
    np.testing.assert_allclose(run(untied, own).logits, 4 * out.logits, **CLOSE)
    scaled, _ = made(tied=False, scaled=True)
    np.testing.assert_allclose(run(scaled, own).logits, out.logits, **CLOSE)
    assert run(untied, params).logits is None
    over, _ = made(over="sequence")
    assert over.decode is None
    head = {"kernel": np.ones((16, 3), np.float32)}
    logits = run(over, params | {"head": head}).logits
    np.testing.assert_allclose(logits, out.features @ head["kernel"], **CLOSE)


def slopes(model, params):
    def value(params):
        inputs = {"tokens": TOKENS, "decoder_tokens": WRITTEN}
        return jnp.square(model.apply(params, {}, inputs)[0].logits).mean()

    return jax.jit(jax.value_and_grad(value))(params)


def test_stacked_and_recomputed_is_single():
    model, params = made()
    again = t5(**SMALL, remat=True)
    stacked = transfer.stack_layers(transfer.full(params)).params
    assert set(stacked["encoder"]["blocks"]) == {"0", "1-2"}
    value, want = slopes(model, params)
    want = transfer.stack_layers(transfer.full(want)).params
    found, got = slopes(again, stacked)
    np.testing.assert_allclose(found, value, rtol=1e-5)
    for path, leaf in tree.flatten(want).items():
        assert np.abs(leaf).max() > 1e-6, path  # the tables of distances, too
        np.testing.assert_allclose(tree.get(got, path), leaf, rtol=1e-3, atol=1e-5)


def test_bfloat16_is_near_and_scores_in_float32():
    model, params = made()
    short = t5(**SMALL, dtype=jnp.bfloat16)
    plain, out = run(model, params), run(short, params)
    assert out.logits.dtype == out.features.dtype == jnp.float32
    far = np.abs(plain.logits - out.logits).max() / np.abs(plain.logits).max()
    assert 1e-5 < far < 5e-2


def test_dropout_needs_a_key():
    model, params = made(rate=0.3)
    inputs = {"tokens": TOKENS, "decoder_tokens": WRITTEN}
    dropped, _ = model.apply(params, {}, inputs, key=jax.random.key(0))
    assert np.abs(dropped.logits - run(model, params).logits).max() > 1e-2
    plain, _ = made()
    np.testing.assert_array_equal(run(plain, params).logits, run(model, params).logits)


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(heads=3, head_width=None), "width 16 is no multiple of 3 heads"),
        (dict(over="vocabulray"), "over 'vocabulray' matches nothing; nearest: voc"),
        (dict(rules="Hand"), "rules 'Hand' matches nothing; nearest: hand"),
    ],
)
def test_bad_settings(options, text):
    with pytest.raises((ValueError, NoMatch), match=text):
        t5(**SMALL | options)
