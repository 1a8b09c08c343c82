"""GPT-2's files against transformers: recorded always, live with `-m parity`."""

import json
import shutil

import jax
import numpy as np
import pytest
from agree import TOLERANCE, distance, same_files

from tl_jax import pretrained, transfer, tree
from tl_jax.pretrained import files

NAMES = ("gpt2_words", "gpt2_untied", "gpt2_sequence")


def values_of(golden, name) -> dict:
    with np.load(golden / "gpt2.npz") as file:
        own = [key for key in file if key.startswith(f"{name}/")]
        return {key.split("/", 1)[1]: file[key] for key in own}


def run(found, values):
    inputs = {name: values[name] for name in ("tokens", "mask")}
    return jax.jit(lambda params: found.model.apply(params, {}, inputs)[0])(
        found.params
    )


def agrees(outputs, values, expected) -> None:
    """Logits and hidden states of real tokens, the last behind the final norm."""
    real = values["mask"].astype(bool)
    states = (*outputs.hidden[:-1], outputs.tokens)
    assert len(states) == sum(name.startswith("hidden") for name in expected)
    for i, state in enumerate(states):
        assert distance(state[real], expected[f"hidden/{i}"][real]) <= TOLERANCE
    assert ("logits" in expected) == (outputs.logits is not None)
    if "logits" in expected:
        logits = outputs.logits, expected["logits"]
        a, b = logits if logits[0].ndim == 2 else (x[real] for x in logits)
        assert distance(a, b) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_recorded_outputs(name, golden):
    values = values_of(golden, name)
    found = pretrained.load(golden / "gpt2" / name)
    agrees(run(found, values), values, values)
    assert ("head" in found.params) == (name != "gpt2_words")
    if name != "gpt2_sequence":  # whose head the model's `init` does not make
        made, _ = jax.eval_shape(found.model.init, jax.random.key(0))
        assert tree.paths(made) == tree.paths(found.params)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_is_equal_to_the_byte(name, golden, tmp_path):
    found = pretrained.load(golden / "gpt2" / name)
    path = pretrained.save(tmp_path / "saved", found)
    same_files(golden / "gpt2" / name, path)
    assert pretrained.load(path).source["hash"] == found.source["hash"]


@pytest.mark.parametrize("name", NAMES)
def test_a_dropped_head_leaves_the_body(name, golden, tmp_path):
    values = values_of(golden, name)
    found = pretrained.load(golden / "gpt2" / name, head="drop")
    del values["logits"]
    agrees(run(found, values), values, values)
    path = pretrained.save(tmp_path / "body", found)
    assert files.read_config(path)["architectures"] == ["GPT2Model"]
    assert "h.0.attn.c_attn.weight" in files.scan(path)
    agrees(run(pretrained.load(path), values), values, values)


def test_a_new_head_over_sequences(golden, tmp_path):
    base = pretrained.load(golden / "gpt2/gpt2_words", head="drop")
    kernel = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    tuned = base._replace(params=base.params | {"head": {"kernel": kernel}})
    path = pretrained.save(tmp_path / "tuned", tuned, labels=list("abcd"))
    config = files.read_config(path)
    assert config["architectures"] == ["GPT2ForSequenceClassification"]
    assert config["id2label"]["3"] == "d"
    values = values_of(golden, "gpt2_words")
    again = run(pretrained.load(path), values)
    np.testing.assert_allclose(again.logits, run(tuned, values).logits, rtol=1e-5)


def test_one_product_holds_queries_keys_and_values(golden):
    """By hand: which columns of the file are whose."""
    folder = golden / "gpt2/gpt2_words"
    whole = dict(files.read(files.scan(folder)))
    found = pretrained.load(folder).params["blocks"]["1"]["attention"]
    for i, name in enumerate(("query", "key", "value")):
        own = slice(16 * i, 16 * (i + 1))
        kernel = whole["transformer.h.1.attn.c_attn.weight"][:, own]
        np.testing.assert_array_equal(found[name]["kernel"], kernel)
        bias = whole["transformer.h.1.attn.c_attn.bias"][own]
        np.testing.assert_array_equal(found[name]["bias"], bias)


def test_a_tuned_query_moves_its_columns_alone(golden, tmp_path):
    folder = golden / "gpt2/gpt2_words"
    base = pretrained.load(folder)
    path = "blocks/0/attention/key/kernel"
    params = tree.put(base.params, path, tree.get(base.params, path) + 1.0)
    saved = pretrained.save(tmp_path / "tuned", base._replace(params=params))
    before, after = (dict(files.read(files.scan(f))) for f in (folder, saved))
    name = "transformer.h.0.attn.c_attn.weight"
    moved = np.abs(after[name] - before[name])
    np.testing.assert_allclose(moved[:, 16:32], 1, atol=1e-5)
    moved[:, 16:32] = 0
    assert not moved.any()
    assert all((before[n] == after[n]).all() for n in before if n != name)


@pytest.mark.parametrize("patch", [transfer.lora(2, r"blocks/\d+/attention/query")])
def test_patches_are_read(patch, golden):
    values = values_of(golden, "gpt2_words")
    found = pretrained.load(golden / "gpt2/gpt2_words")
    plan = patch(jax.random.key(0), transfer.full(found.params))
    agrees(run(found._replace(params=plan.params), values), values, values)
    stacked = transfer.stack_layers(plan).params
    assert set(stacked["blocks"]) == {"0-1"}
    agrees(run(found._replace(params=stacked), values), values, values)


def test_dropout_needs_a_key(golden):
    found = pretrained.load(golden / "gpt2/gpt2_words")
    inputs = {"tokens": values_of(golden, "gpt2_words")["tokens"]}
    plain = found.model.apply(found.params, {}, inputs)[0].logits
    key = jax.random.key(0)
    dropped = found.model.apply(found.params, {}, inputs, key=key)[0].logits
    assert np.abs(dropped - plain).max() > 1e-2
    bare = pretrained.load(golden / "gpt2/gpt2_words", rate=0.0, attention_rate=0.0)
    same = bare.model.apply(found.params, {}, inputs, key=key)[0].logits
    np.testing.assert_array_equal(same, plain)


def test_more_tokens_than_positions(golden):
    found = pretrained.load(golden / "gpt2/gpt2_words")
    tokens = np.ones((1, 25), np.int32)
    with pytest.raises(ValueError, match="25 tokens in a row, positions for 24"):
        found.model.apply(found.params, {}, {"tokens": tokens})
    with pytest.raises(ValueError, match="20 tokens in a row and 5 more"):
        found.model.decode.start(found.params, {"tokens": tokens[:, :20]}, 5)


@pytest.mark.parametrize(
    "config, text",
    [
        (dict(n_head=3), "n_embd 16 is no multiple of n_head 3"),
        (dict(scale_attn_by_inverse_layer_idx=True), "by_inverse_layer_idx is True"),
        (dict(add_cross_attention=True), "add_cross_attention is True"),
        (dict(embd_pdrop=0.3), "embd_pdrop is 0.3, supported is resid_pdrop's 0.1"),
        (dict(activation_function="gleu"), "'gleu'; nearest: gelu"),
        (dict(architectures=["GPT2DoubleHeadsModel"]), "known: GPT2Model"),
        (dict(n_layer="2"), "n_layer is '2'"),
    ],
)
def test_unsupported_settings_are_named(config, text, golden, tmp_path):
    folder = tmp_path / "edited"
    shutil.copytree(golden / "gpt2/gpt2_words", folder)
    settings = files.read_config(folder) | config
    (folder / files.CONFIG).write_text(json.dumps(settings))
    with pytest.raises(pretrained.Unsupported, match=text):
        pretrained.load(folder)


def test_a_gguf_file_is_the_folder_that_it_was_made_of(golden, tmp_path):
    pytest.importorskip("gguf")
    import gguf_made as made

    folder = golden / "gpt2/gpt2_words"
    config = files.read_config(folder)
    fields = {
        "gpt2.block_count": config["n_layer"],
        "gpt2.context_length": config["n_positions"],
        "gpt2.embedding_length": config["n_embd"],
        "gpt2.feed_forward_length": 4 * config["n_embd"],
        "gpt2.attention.head_count": config["n_head"],
        "gpt2.attention.layer_norm_epsilon": 1e-5,
    }
    file = tmp_path / "model.gguf"
    found = pretrained.load(
        made.write(file, "gpt2", fields, made.tensors_of(folder, "gpt2"))
    )
    want = pretrained.load(folder)
    jax.tree.map(np.testing.assert_array_equal, found.params, want.params)
    values = values_of(golden, "gpt2_words")
    agrees(run(found, values), values, values)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["Model", "LMHeadModel", "ForSequenceClassification"])
@pytest.mark.parametrize("changed", [{}, dict(n_head=2, n_inner=8)])
def test_live(kind, changed, tmp_path):
    import record_gpt2 as record
    import record_llama

    model, values = record.make(f"GPT2{kind}", changed, 5), record_llama.inputs_for(3)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="6KB")
    assert (tmp_path / "theirs" / files.INDEX).is_file()
    found = pretrained.load(tmp_path / "theirs")
    agrees(run(found, values), values, record.reference(model, values))
    path = pretrained.save(tmp_path / "ours", found)
    again, report = type(model).from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    agrees(run(found, values), values, record.reference(again.eval(), values))
