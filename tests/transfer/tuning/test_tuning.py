"""Which leaves each way of tuning moves, at what rates, and in what numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.algorithms import supervised
from tl_jax.losses import cross_entropy
from tl_jax.models import bert, llama, resnet
from tl_jax.nn import Fixed, Running
from tl_jax.optim import adamw
from tl_jax.transfer import (
    batch_norms,
    bitfit,
    blocks,
    chain,
    discriminative,
    freeze,
    full,
    keep_head,
    layer_norms,
    lora,
    new_head,
    rate,
    stack_layers,
    totals,
)
from tl_jax.tree import NoMatch, flatten
from tl_jax.types import Player

KEY = jax.random.key(0)
FREEZE, HEAD = freeze(".*"), rate("head/.*", 1.0)


@pytest.fixture(scope="module")
def text():
    """Three blocks of width 16, and a head of 3."""
    sizes = dict(vocabulary=40, width=16, depth=3, heads=2, hidden=32, positions=12)
    model = bert(**sizes, rate=0.0, attention_rate=0.0, head_rate=0.0)
    return model, new_head(3, 16)(KEY, full(*model.init(KEY)))


@pytest.fixture(scope="module")
def pictures():
    """Two basic blocks, of which the second has a shortcut with a norm."""
    model = resnet(kind="basic", stages=(1, 1), widths=(4, 8), stem_width=4, classes=3)
    return model, full(*model.init(KEY))


def moving(plan):
    return {path for path, rate in flatten(plan.rates).items() if rate}


@pytest.mark.parametrize(
    "first, last, numbers", [(0, 0, "0"), (1, 2, "12"), (-1, -1, "2"), (0, -2, "01")]
)
def test_blocks_moves_a_range_and_nothing_else(text, first, last, numbers):
    _, plan = text
    found = chain(FREEZE, blocks(first, last, 0.5))(KEY, plan)
    want = {
        p for p in flatten(plan.rates) if p.startswith("blocks/") and p[7] in numbers
    }
    assert moving(found) == want
    assert {flatten(found.rates)[path] for path in want} == {0.5}


def test_blocks_leaves_patches_alone_and_counts_past_nine():
    sizes = dict(vocabulary=4, width=4, depth=11, heads=1, hidden=4, positions=4)
    plan = full(*bert(**sizes).init(KEY))
    made = chain(FREEZE, lora(1, "blocks/10/mlp/up"), blocks(9, 10, 0.0))(KEY, plan)
    assert moving(made) == {f"blocks/10/mlp/up/patch/lora/{name}" for name in "ab"}
    last = moving(chain(FREEZE, blocks(-1, -1))(KEY, plan))
    assert {path.split("/")[1] for path in last} == {"10"}


def test_blocks_knows_what_the_model_has(text):
    _, plan = text
    with pytest.raises(ValueError, match="no block 3; the model has 3, 0 to 2, or -3"):
        blocks(0, 3)(KEY, plan)
    with pytest.raises(ValueError, match="no block -4"):
        blocks(-4, 1)(KEY, plan)
    with pytest.raises(ValueError, match=r"blocks\(2, 1\): of 3 that range is empty"):
        blocks(2, 1)(KEY, plan)
    with pytest.raises(ValueError, match="rate is -1"):
        blocks(0, 1, -1)
    with pytest.raises(ValueError, match="is stacked"):
        blocks(0, 1)(KEY, stack_layers(plan))
    with pytest.raises(NoMatch, match="needs blocks"):
        blocks(0, 0)(KEY, full({"head": {"bias": jnp.zeros(2)}}))
    whole = chain(FREEZE, blocks(0, -1))(KEY, stack_layers(plan))
    assert {path.split("/")[1] for path in moving(whole)} == {"0-2"}


def test_discriminative_rates_divide_by_the_depth(text):
    rates = flatten(discriminative()(KEY, text[1]).rates)
    assert rates["head/kernel"] == 1.0
    for block, power in ((2, 1), (1, 2), (0, 3)):
        assert rates[f"blocks/{block}/mlp/up/bias"] == pytest.approx(2.6**-power)
    assert rates["embed/tokens/embedding"] == pytest.approx(2.6**-4)
    with pytest.raises(ValueError, match="divisor is 0.5"):
        discriminative(0.5)


def test_bitfit_moves_biases_alone(text):
    method = chain(FREEZE, lora(2, ".*/query"), freeze(".*"), bitfit(), HEAD)
    found = moving(method(KEY, text[1]))
    assert found == {
        path
        for path in flatten(text[1].rates)
        if path.endswith("/bias") or path.startswith("head/")
    }
    # A block: four of attention and down, 16 each; up, 32; two norms, 16 each.
    biases = totals(chain(FREEZE, bitfit())(KEY, text[1]))[0]
    assert biases == 3 * (5 * 16 + 32 + 2 * 16) + 16 + 3
    grown = chain(FREEZE, lora(2, ".*/query"), bitfit(2.0))(KEY, text[1])
    assert "blocks/0/attention/query/patch/lora/a" in moving(grown)


def test_layer_norms_are_all_of_them(text):
    found = moving(chain(FREEZE, layer_norms())(KEY, text[1]))
    names = ["embed/norm"]
    names += [f"blocks/{i}/norm_{of}" for i in range(3) for of in ("attention", "mlp")]
    assert found == {f"{name}/{leaf}" for name in names for leaf in ("scale", "bias")}
    sizes = dict(width=8, depth=2, heads=2, hidden=12)
    plan = full(*llama(vocabulary=9, **sizes).init(KEY))
    found = moving(chain(FREEZE, layer_norms(0.5))(KEY, plan))
    assert len(found) == 5  # two a block and the last one; RMS norms have no bias
    assert all(path.endswith("/scale") and "norm" in path for path in found)


def test_batch_norms_move_with_their_statistics(pictures):
    _, plan = pictures
    found = chain(FREEZE, batch_norms())(KEY, plan)
    assert moving(found) == {
        f"{site}/{leaf}" for site in plan.stats for leaf in ("scale", "bias")
    }
    assert totals(found)[0] == 2 * (4 + 2 * 4 + 2 * 8 + 8)
    assert {type(node) for node in found.stats.values()} == {Running}
    closed = freeze(".*")(KEY, found)
    assert {type(node) for node in closed.stats.values()} == {Fixed}
    with pytest.raises(NoMatch, match="'layer_norms' matches nothing; nearest: .*norm"):
        layer_norms()(KEY, plan)


def test_other_norms_are_named(text):
    with pytest.raises(NoMatch, match="'batch_norms' matches nothing; nearest: .*norm"):
        batch_norms()(KEY, text[1])
    for make in (batch_norms, layer_norms):
        with pytest.raises(ValueError, match="rate is -1"):
            make(-1.0)


def step_of(model, plan, inputs, **options):
    """Plan -> the state before and after one clipped and decayed step."""
    players = {"model": Player(model, plan, adamw(1e-2, weight_decay=0.5, decay=".*"))}

    def loss(outputs, stream):
        return cross_entropy(outputs.logits, stream["labels"])

    algorithm = supervised(players, loss, clip=1e-3)
    state, frozen = algorithm.init(KEY, players)
    count = len(jax.tree.leaves(inputs)[0])
    stream = {"inputs": inputs, "weight": jnp.ones(count), "index": jnp.arange(count)}
    stream |= {"labels": jnp.arange(count) % 3}
    new, metrics = jax.jit(algorithm.step)(state, frozen, {"train": stream}, KEY)
    return state, new, frozen, metrics


WAYS = {
    "bitfit": bitfit(),
    "layer_norms": layer_norms(),
    "batch_norms": batch_norms(),
    "blocks": blocks(1, 1),
}


@pytest.mark.parametrize("name", WAYS)
def test_frozen_leaves_have_no_decay_moment_or_share_of_the_norm(name, text, pictures):
    """Were frozen leaves decayed or clipped with, both numbers would differ."""
    of = pictures if name == "batch_norms" else text
    model, plan = of
    plan = chain(FREEZE, WAYS[name])(KEY, plan)
    if of is text:
        inputs = {
            "tokens": jnp.arange(32).reshape(4, 8),
            "mask": jnp.ones((4, 8), bool),
        }
    else:
        inputs = {"image": jax.random.normal(KEY, (4, 8, 8, 3))}
    state, new, frozen, metrics = step_of(model, plan, inputs)
    want = moving(plan)
    assert set(flatten(state.train["model"])) == want
    kept = flatten(frozen["model"])
    assert set(kept) == set(flatten(plan.params)) - want
    assert all(leaf is flatten(plan.params)[path] for path, leaf in kept.items())
    moments = sum(np.size(x) for x in jax.tree.leaves(new.opt) if np.ndim(x))
    assert moments == 2 * totals(plan)[0]

    def loss(params):
        stats = plan.stats
        logits = model.apply(params, stats, inputs, norm="batch")[0].logits
        return cross_entropy(logits, jnp.arange(4) % 3).mean()

    grads = flatten(jax.jit(jax.grad(loss))(plan.params))
    norm = sum(np.square(grads[path]).sum() for path in want) ** 0.5
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=2e-4)
    whole = sum(np.square(g).sum() for g in grads.values()) ** 0.5
    assert whole > 1.01 * norm


def test_the_old_head_is_kept_beside_the_new_one(pictures):
    _, plan = pictures
    head = plan.params["head"]
    both = chain(keep_head(2), new_head(2, 8))(KEY, plan)
    source = both.params["source"]
    np.testing.assert_array_equal(source["kernel"], head["kernel"])
    np.testing.assert_array_equal(
        source["relation"], np.full((2, 3), 1 / 3, np.float32)
    )
    assert both.rates["source"] == {"kernel": 1.0, "bias": 1.0, "relation": 0.0}
    assert both.params["head"]["kernel"].shape == (8, 2)
    with pytest.raises(NoMatch, match="keep_head: where 'haed'"):
        keep_head(2, where="haed")(KEY, plan)
    with pytest.raises(ValueError, match="'blocks' holds 0, 1; expected kernel"):
        keep_head(2, where="blocks")(KEY, plan)
    with pytest.raises(ValueError, match="classes is 0"):
        keep_head(0)


@pytest.mark.parity
def test_as_many_move_as_under_peft():
    """PEFT's LN tuning of the same BERT, its norms by name."""
    pytest.importorskip("torch")
    from peft import LNTuningConfig, get_peft_model
    from transformers import BertConfig, BertModel

    sizes = dict(vocabulary=40, width=16, depth=3, heads=2, hidden=32, positions=12)
    plan = full(*bert(**sizes).init(KEY))
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    peer = BertModel(config, add_pooling_layer=False)
    biases = sum(p.numel() for n, p in peer.named_parameters() if n.endswith("bias"))
    tuned = get_peft_model(peer, LNTuningConfig(target_modules=["LayerNorm"]))
    count, _ = tuned.get_nb_trainable_parameters()
    assert totals(chain(FREEZE, layer_norms())(KEY, plan))[0] == count
    assert totals(chain(FREEZE, bitfit())(KEY, plan))[0] == biases
