"""Llama's files against transformers: recorded always, live with `-m parity`."""

import json
import shutil

import jax
import numpy as np
import pytest
from agree import TOLERANCE, distance, same_files

from tl_jax import pretrained, transfer, tree
from tl_jax.pretrained import files

NAMES = ("llama_words", "llama_tied", "llama_sequence", "llama_scaled", "llama_linear")


def values_of(golden, name) -> dict:
    with np.load(golden / "llama.npz") as file:
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


def edited(golden, tmp_path, name="llama_words", **config):
    folder = tmp_path / "edited"
    shutil.copytree(golden / "llama" / name, folder)
    settings = files.read_config(folder) | config
    settings = {k: v for k, v in settings.items() if v is not ...}
    (folder / files.CONFIG).write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_recorded_outputs(name, golden):
    values = values_of(golden, name)
    found = pretrained.load(golden / "llama" / name)
    agrees(run(found, values), values, values)
    assert ("head" in found.params) == (name != "llama_tied")
    if name != "llama_sequence":  # whose head the model's `init` does not make
        made, _ = jax.eval_shape(found.model.init, jax.random.key(0))
        assert tree.paths(made) == tree.paths(found.params)


def test_stacked_weights_give_the_recorded_outputs(golden):
    values = values_of(golden, "llama_tied")
    found = pretrained.load(golden / "llama/llama_tied", remat=True)
    plan = transfer.stack_layers(transfer.full(found.params))
    agrees(run(found._replace(params=plan.params), values), values, values)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_is_equal_to_the_byte(name, golden, tmp_path):
    found = pretrained.load(golden / "llama" / name)
    path = pretrained.save(tmp_path / "saved", found)
    same_files(golden / "llama" / name, path)
    assert pretrained.load(path).source["hash"] == found.source["hash"]


@pytest.mark.parametrize("name", NAMES)
def test_a_dropped_head_leaves_the_body(name, golden, tmp_path):
    values = values_of(golden, name)
    found = pretrained.load(golden / "llama" / name, head="drop")
    del values["logits"]
    agrees(run(found, values), values, values)
    path = pretrained.save(tmp_path / "body", found)
    assert files.read_config(path)["architectures"] == ["LlamaModel"]
    assert "embed_tokens.weight" in files.scan(path)
    again = pretrained.load(path)
    agrees(run(again, values), values, values)


def test_a_new_head_over_sequences(golden, tmp_path):
    base = pretrained.load(golden / "llama/llama_tied", head="drop", over="sequence")
    kernel = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    tuned = base._replace(params=base.params | {"head": {"kernel": kernel}})
    path = pretrained.save(tmp_path / "tuned", tuned, labels=list("abcd"))
    config = files.read_config(path)
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert config["id2label"]["3"] == "d"
    values, again = values_of(golden, "llama_tied"), pretrained.load(path)
    outputs = run(again, values)
    np.testing.assert_allclose(outputs.logits, outputs.features @ kernel, atol=1e-5)
    biased = tuned.params | {"head": {"kernel": kernel, "bias": np.zeros(4, "f")}}
    with pytest.raises(pretrained.Misfit, match="head/bias"):
        pretrained.save(tmp_path / "x", tuned._replace(params=biased))


def test_a_head_over_words_keeps_its_config(golden, tmp_path):
    found = pretrained.load(golden / "llama/llama_words")
    moved = jax.tree.map(lambda leaf: leaf + 0.5, found.params)
    path = pretrained.save(tmp_path / "moved", found._replace(params=moved))
    config = files.read_config(path)
    assert config == files.read_config(golden / "llama/llama_words")
    again = pretrained.load(path).params["head"]["kernel"]
    np.testing.assert_array_equal(again, moved["head"]["kernel"])
    with pytest.raises(ValueError, match="no head over classes"):
        pretrained.save(tmp_path / "x", found, labels=["a"])


def test_shards_old_fields_and_buffers(golden, tmp_path):
    """As older files are: two shards, `rope_theta` at the top, frequencies stored."""
    old = dict(rope_parameters=..., rope_theta=500.0, rope_scaling=None)
    folder = edited(golden, tmp_path, "llama_tied", **old)
    arrays = dict(files.read(files.scan(folder)))
    arrays["lm_head.weight"] = arrays["model.embed_tokens.weight"]
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    arrays[buffer] = np.ones(3, np.float32)
    (folder / files.WEIGHTS).unlink()
    parts = {"model-1.safetensors": {}, "model-2.safetensors": {}}
    for i, name in enumerate(sorted(arrays)):
        parts[f"model-{i % 2 + 1}.safetensors"][name] = arrays[name]
    for name, part in parts.items():
        files.write(part, folder / name)
    index = {name: file for file, part in parts.items() for name in part}
    (folder / files.INDEX).write_text(json.dumps({"weight_map": index}))
    found, values = pretrained.load(folder), values_of(golden, "llama_tied")
    assert list(found.source["omitted"]) == [buffer]
    agrees(run(found, values), values, values)
    arrays["lm_head.weight"] = arrays["lm_head.weight"] + 1
    (folder / files.INDEX).unlink()
    files.write(arrays, folder / files.WEIGHTS)
    with pytest.raises(pretrained.Misfit, match=r"lm_head\.weight differs"):
        pretrained.load(folder)


YARN = {"rope_type": "yarn", "factor": 8.0, "rope_theta": 5e5}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
TWICE = {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize(
    "config, text",
    [
        (dict(rope_scaling={"type": "linear", "factor": 0}), "factor is 0, expected"),
        (dict(rope_scaling={"factor": 2.0}), "rope_scaling has factor 2.0"),
        (dict(rope_scaling=TWICE), "rope_scaling and rope_parameters differ"),
        (dict(rope_parameters=YARN), "rope_type 'yarn'; known: default, linear, ll"),
        (dict(rope_parameters=LLAMA3), "high_freq_factor is None, expected a number"),
        (dict(rope_parameters=LLAMA3 | {"high_freq_factor": 1}), "expected above low"),
        (dict(rope_scaling=2), "rope_scaling is 2, expected null"),
        (dict(rope_parameters={"partial_rotary_factor": 0.5}), "factor 0.5"),
        (dict(rope_theta=5e5), "rope_theta is 500000.0 but rope_parameters"),
        (dict(rope_theta="1e4", rope_parameters=None), "is '1e4', expected a number"),
        (dict(num_key_value_heads=3), "heads 4 are no multiple of kv_heads 3"),
        (dict(head_dim=5), "5 wide, expected an even number"),
        (dict(head_dim=None, num_attention_heads=6), "16 is no multiple of 6 heads"),
        (dict(hidden_act="sliu"), "hidden_act is 'sliu'; nearest: silu"),
        (dict(attention_bias="yes"), "attention_bias is 'yes', supported is False"),
        (dict(sliding_window=8), "sliding_window is 8"),
        (dict(tie_word_embeddings="yes"), "tie_word_embeddings is 'yes'"),
        (dict(architectures=["LlamaForTokenClassification"]), "known: LlamaModel"),
        (dict(vocab_size=...), "vocab_size is nothing"),
    ],
)
def test_unsupported_settings_are_named(config, text, golden, tmp_path):
    folder = edited(golden, tmp_path, **config)
    with pytest.raises(pretrained.Unsupported, match=text):
        pretrained.load(folder)


def test_groups_and_widths_have_defaults(golden, tmp_path):
    """Without `num_key_value_heads` every head has its own: the file does not fit."""
    folder = edited(golden, tmp_path, num_key_value_heads=None, head_dim=...)
    with pytest.raises(pretrained.Misfit, match=r"wrong shape.*(?s:.*)k_proj"):
        pretrained.load(folder)


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(over="sequence"), "reads 'vocabulary'; drop it"),
        (dict(over="words", head="drop"), "known: vocabulary, sequence"),
        (dict(features="mean"), "llama has no option 'features'"),
        (dict(head="keeep"), "known: keep, drop"),
    ],
)
def test_options_that_contradict_raise(options, text, golden):
    with pytest.raises(ValueError, match=text):
        pretrained.load(golden / "llama/llama_words", **options)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["Model", "ForCausalLM", "ForSequenceClassification"])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        dict(tie_word_embeddings=True),
        dict(num_key_value_heads=1, head_dim=8, hidden_act="gelu"),
        dict(num_key_value_heads=4, rms_norm_eps=1e-2),
    ],
)
def test_live(kind, changed, tmp_path):
    import record_llama as record

    model, values = record.make(f"Llama{kind}", changed, 5), record.inputs_for(3)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="6KB")
    assert (tmp_path / "theirs" / files.INDEX).is_file()
    found = pretrained.load(tmp_path / "theirs")
    agrees(run(found, values), values, record.reference(model, values))
    path = pretrained.save(tmp_path / "ours", found)
    again, report = type(model).from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    agrees(run(found, values), values, record.reference(again.eval(), values))


@pytest.mark.parity
def test_bfloat16_weights_live(tmp_path):
    import record_llama as record
    import torch

    model = record.make("LlamaForCausalLM", {}, 6).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    model = type(model).from_pretrained(tmp_path, dtype=torch.float32).eval()
    values = record.inputs_for(1)
    agrees(
        run(pretrained.load(tmp_path), values), values, record.reference(model, values)
    )
