"""Patches of the encoder-decoder: prompts in front, and steps with a cache."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_t5 import CLOSE, TOKENS, WRITTEN, compiled, made, run

from tl_jax import transfer, tree
from tl_jax.tree import node
from tl_jax.types import Array


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
