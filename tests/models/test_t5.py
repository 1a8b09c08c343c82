"""The encoder-decoder: sides, padding, tables, stacks, patches, steps with a cache."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import transfer, tree
from tl_jax.models import t5
from tl_jax.tree import NoMatch, node
from tl_jax.types import Array

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
    return apply(params, {}, inputs)[0]


def run(model, params, tokens=TOKENS, written=WRITTEN, **inputs):
    inputs |= {"tokens": tokens} | (
        {} if written is None else {"decoder_tokens": written}
    )
    return compiled(model.apply, params, inputs)


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


@node
class Prompt:
    """Tokens [P D] in front of the encoder's, at places below zero."""

    point = "sequence"
    rates = {}  # noqa: RUF012
    tokens: Array

    def __call__(self, site, value, *, x=None, key=None):
        x, mask, at = value
        count = len(self.tokens)
        new = jnp.broadcast_to(self.tokens, (len(x), *self.tokens.shape))
        front = jnp.broadcast_to(jnp.arange(-count, 0), (len(at), count))
        seen = jnp.ones((len(x), count), bool)
        return (
            jnp.concatenate([new, x], 1),
            jnp.concatenate([seen, mask], 1),
            jnp.concatenate([front, at], 1),
        )


def test_a_prompt_of_embeddings_is_those_tokens():
    """Padding too; only features and tokens are of the row's own."""
    model, params = made()
    table = params["embed"]["tokens"]["embedding"]
    patched = tree.put(params, "embed/patch/p", Prompt(table[TOKENS[0, :2]]))
    mask = np.ones_like(TOKENS)
    mask[:, 5:] = 0
    rest = np.stack([TOKENS[0, 2:]] * 2)
    got = run(model, patched, rest, mask=mask[:, 2:])
    want = run(model, params, np.stack([TOKENS[0]] * 2), mask=mask)
    np.testing.assert_allclose(got.logits, want.logits, **CLOSE)
    assert got.hidden[1].shape == (2, 5, 16)
    own = run(model, params, np.stack([TOKENS[0]] * 2), None, mask=mask).tokens
    np.testing.assert_allclose(got.features, own[:, 2:5].mean(1), **CLOSE)


def test_prompt_tuning_sees_no_padding_and_moves_alone():
    """The transform of words in front, beside the node of these tests."""
    model, params = made()
    ids = tuple(TOKENS[0, :2].tolist())
    add = transfer.chain(
        transfer.freeze(".*"), transfer.prompt(2, init="text", ids=ids)
    )
    plan = add(jax.random.key(1), transfer.full(params))
    train, _ = transfer.partition(plan.params, transfer.trainable(plan.rates))
    assert [leaf.shape for leaf in jax.tree.leaves(train)] == [(2, 16)]
    rest, whole = TOKENS[:1, 2:], TOKENS[:1]
    want = run(model, params, whole, WRITTEN[:1])
    for front, back in ((0, 0), (0, 2), (3, 0)):
        wide = np.pad(rest, ((0, 0), (front, back)), constant_values=5)
        mask = np.pad(np.ones_like(rest), ((0, 0), (front, back)))
        got = run(model, plan.params, wide, WRITTEN[:1], mask=mask)
        if not front:  # positions are places: padding in between moves the prompt off
            np.testing.assert_allclose(got.logits, want.logits, **CLOSE)
        other = np.where(mask, wide, 8)
        again = run(model, plan.params, other, WRITTEN[:1], mask=mask)
        np.testing.assert_allclose(got.logits, again.logits, **CLOSE)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_prompt_tuning_is_pefts(tmp_path):
    """PEFT's prompt in front of the encoder alone: same logits, padding included."""
    import peft
    import record_t5 as record
    import torch

    from tl_jax import pretrained

    base = record.make("T5ForConditionalGeneration", {}, 4, 0.25)
    base.save_pretrained(tmp_path)
    found, values = pretrained.load(tmp_path), record.inputs_for(2)
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3, num_transformer_submodules=1
    )
    tuned = peft.get_peft_model(base, config).eval()
    own = tuned.prompt_encoder["default"].embedding.weight.detach().numpy()
    plan = transfer.prompt(3)(jax.random.key(0), transfer.full(found.params))
    node = tree.get(plan.params, "embed/patch")["prompt"]
    node = replace(node, tokens=jnp.asarray(own))
    params = tree.put(plan.params, "embed/patch/prompt", node)
    given = {name: torch.tensor(value).long() for name, value in values.items()}
    with torch.no_grad():
        theirs = tuned(
            input_ids=given["tokens"],
            attention_mask=given["mask"],
            decoder_input_ids=given["decoder_tokens"],
            decoder_attention_mask=given["decoder_mask"],
        ).logits.numpy()
    got = compiled(found.model.apply, params, values).logits
    shown = values["decoder_mask"].astype(bool)
    far = np.abs(got - theirs)[shown].max() / np.abs(theirs[shown]).max()
    assert far <= 2e-5


def with_patches(params):
    """LoRA at work on both sides, prefixes in all three attentions, a prompt."""
    grown = transfer.chain(
        transfer.lora(2, ".*/(query|value|up)"),
        transfer.prefix(2, r".*/blocks/\d+/(attention|cross)", std=0.5),
    )(jax.random.key(1), transfer.full(params)).params
    rng = np.random.default_rng(2)

    def moved(path, leaf):
        far = 0.3 * rng.normal(size=np.shape(leaf)) if path.endswith("/b") else 0
        return leaf + jnp.asarray(far, jnp.float32)

    grown = tree.map_with_path(moved, grown)
    prompt = rng.normal(size=(3, 16)).astype(np.float32)
    return tree.put(grown, "embed/patch/p", Prompt(prompt))


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("stacked", [False, True])
def test_steps_with_a_cache_are_the_whole_pass(patched, stacked):
    model, params = made()
    plain = run(model, params)
    params = with_patches(params) if patched else params
    if stacked:
        params = transfer.stack_layers(transfer.full(params)).params
    mask = np.ones_like(TOKENS)
    mask[1, 4:] = 0
    shifted = np.concatenate([np.zeros((2, 1), int), WRITTEN], 1)
    want = run(model, params, written=shifted, mask=mask).logits
    assert np.abs(want[:, 1:] - plain.logits).max() > 1e-2

    def steps(params):
        logits, cache = model.decode.start(params, {"tokens": TOKENS, "mask": mask}, 6)
        found = [logits]
        for t in range(5):
            logits, cache = model.decode.step(params, cache, WRITTEN[:, t])
            found.append(logits)
        return jnp.stack(found, 1)

    np.testing.assert_allclose(jax.jit(steps)(params), want, **CLOSE)


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
