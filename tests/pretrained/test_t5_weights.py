"""T5's files against transformers: recorded always, live with `-m parity`."""

import json
import shutil

import jax
import numpy as np
import pytest
from agree import TOLERANCE, distance, same_files

from tl_jax import pretrained, transfer, tree
from tl_jax.pretrained import files

NAMES = ("t5_tied", "t5_gated", "t5_body", "t5_encoder")
INPUTS = ("tokens", "mask", "decoder_tokens", "decoder_mask")


def values_of(golden, name) -> dict:
    with np.load(golden / "t5.npz") as file:
        own = [key for key in file if key.startswith(f"{name}/")]
        return {key.split("/", 1)[1]: file[key] for key in own}


def run(found, values, names=INPUTS):
    inputs = {name: values[name] for name in names}
    return jax.jit(lambda params: found.model.apply(params, {}, inputs)[0])(
        found.params
    )


def agrees(found, values, expected) -> None:
    """Logits and hidden states of real tokens, the last behind the final norm."""
    sides = {"encoder": run(found, values, INPUTS[:2])}
    masks = {"encoder": values["mask"].astype(bool)}
    if "decoder" in found.params:
        sides["decoder"] = run(found, values)
        masks["decoder"] = values["decoder_mask"].astype(bool)
    for side, outputs in sides.items():
        count = len(found.params[side]["blocks"]) + 1
        states = (*outputs.hidden[-count:][:-1], outputs.tokens)
        assert sum(name.startswith(f"{side}/") for name in expected) == count
        real = masks[side]
        for i, state in enumerate(states):
            assert distance(state[real], expected[f"{side}/{i}"][real]) <= TOLERANCE
    last = expected[f"encoder/{len(found.params['encoder']['blocks'])}"]
    means = [row[m].mean(0) for row, m in zip(last, masks["encoder"], strict=True)]
    assert distance(outputs.features, np.stack(means)) <= TOLERANCE
    assert ("logits" in expected) == (outputs.logits is not None)
    if "logits" in expected:
        assert distance(outputs.logits[real], expected["logits"][real]) <= TOLERANCE


def edited(golden, tmp_path, name="t5_tied", **config):
    folder = tmp_path / "edited"
    shutil.copytree(golden / "t5" / name, folder)
    settings = files.read_config(folder) | config
    settings = {k: v for k, v in settings.items() if v is not ...}
    (folder / files.CONFIG).write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_recorded_outputs(name, golden):
    values = values_of(golden, name)
    found = pretrained.load(golden / "t5" / name)
    agrees(found, values, values)
    assert ("head" in found.params) == (name == "t5_gated")
    made, _ = jax.eval_shape(found.model.init, jax.random.key(0))
    assert tree.paths(made) == tree.paths(found.params)
    tables = [path for path in tree.paths(made) if "relative" in path]
    assert tables == [
        f"{side}/blocks/0/attention/relative/embedding"
        for side in ("decoder", "encoder")
        if side in made
    ]


def test_stacked_and_recomputed_give_the_recorded_outputs(golden):
    values = values_of(golden, "t5_gated")
    found = pretrained.load(golden / "t5/t5_gated", remat=True)
    plan = transfer.stack_layers(transfer.full(found.params))
    assert set(plan.params["encoder"]["blocks"]) == {"0", "1-2"}
    outputs = run(found._replace(params=plan.params), values)
    real = values["decoder_mask"].astype(bool)
    assert distance(outputs.logits[real], values["logits"][real]) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_is_equal_to_the_byte(name, golden, tmp_path):
    found = pretrained.load(golden / "t5" / name)
    path = pretrained.save(tmp_path / "saved", found)
    same_files(golden / "t5" / name, path)
    assert pretrained.load(path).source["hash"] == found.source["hash"]


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_dropped_head_leaves_the_body(name, golden, tmp_path):
    values = values_of(golden, name)
    found = pretrained.load(golden / "t5" / name, head="drop")
    assert "head" not in found.params
    expected = {key: v for key, v in values.items() if key != "logits"}
    agrees(found, values, expected)
    path = pretrained.save(tmp_path / "body", found)
    assert files.read_config(path)["architectures"] == ["T5Model"]
    agrees(pretrained.load(path), values, expected)


def test_a_head_over_features_is_not_saved(golden, tmp_path):
    base = pretrained.load(golden / "t5/t5_tied", head="drop")
    head = {"kernel": np.ones((16, 3), np.float32)}
    tuned = base._replace(params=base.params | {"head": head})
    outputs = run(tuned, values_of(golden, "t5_tied"), INPUTS[:2])
    assert outputs.logits.shape == (3, 3)
    with pytest.raises(ValueError, match="head over features, the encoder's mean"):
        pretrained.save(tmp_path / "x", tuned)


def test_old_files_say_it_otherwise(golden, tmp_path):
    """Copies of the table, a bias that nobody uses, and the old name of the words."""
    old = dict(scale_decoder_outputs=..., architectures=["T5WithLMHeadModel"])
    folder = edited(golden, tmp_path, **old)
    arrays = dict(files.read(files.scan(folder)))
    for name in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        arrays[f"{name}.weight"] = arrays["shared.weight"]
    buffer = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    arrays[buffer] = np.ones((8, 4), np.float32)
    files.write(arrays, folder / files.WEIGHTS)
    found, values = pretrained.load(folder), values_of(golden, "t5_tied")
    assert list(found.source["omitted"]) == [buffer]
    agrees(found, values, values)
    arrays["lm_head.weight"] = arrays["lm_head.weight"] + 1
    files.write(arrays, folder / files.WEIGHTS)
    with pytest.raises(pretrained.Misfit, match=r"lm_head\.weight differs"):
        pretrained.load(folder)
    assert "head" in pretrained.load(folder, tied=False).params


def test_untied_as_version_4_wrote_it(golden, tmp_path):
    old = dict(scale_decoder_outputs=..., tie_word_embeddings=False)
    found = pretrained.load(edited(golden, tmp_path, "t5_gated", **old))
    values = values_of(golden, "t5_gated")
    agrees(found, values, values)


@pytest.mark.parametrize(
    "config, text",
    [
        (dict(feed_forward_proj="gated-gleu"), "'gated-gleu'; nearest: gated-gelu"),
        (dict(relative_attention_num_buckets=2), "is 2, expected a whole number >= 4"),
        (dict(relative_attention_max_distance=2), "distances up to 2"),
        (dict(d_kv=0), "d_kv is 0"),
        (dict(num_decoder_layers="two"), "num_decoder_layers is 'two'"),
        (dict(tie_word_embeddings="yes"), "tie_word_embeddings is 'yes'"),
        (dict(architectures=["T5ForTokenClassification"]), "known: T5ForCond"),
        (dict(vocab_size=...), "vocab_size is nothing"),
    ],
)
def test_unsupported_settings_are_named(config, text, golden, tmp_path):
    folder = edited(golden, tmp_path, **config)
    with pytest.raises(pretrained.Unsupported, match=text):
        pretrained.load(folder)


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(over="sequence"), "reads 'vocabulary'; drop it"),
        (dict(over="words", head="drop"), "known: vocabulary, sequence"),
        (dict(features="mean"), "t5 has no option 'features'"),
    ],
)
def test_options_that_contradict_raise(options, text, golden):
    with pytest.raises(ValueError, match=text):
        pretrained.load(golden / "t5/t5_tied", **options)


@pytest.mark.parity
@pytest.mark.parametrize(
    "kind, changed",
    [
        ("T5ForConditionalGeneration", {}),
        ("T5ForConditionalGeneration", dict(tie_word_embeddings=False)),
        ("T5ForConditionalGeneration", dict(feed_forward_proj="gated-relu")),
        ("T5Model", dict(feed_forward_proj="gelu", layer_norm_epsilon=1e-2)),
        ("T5EncoderModel", dict(relative_attention_num_buckets=16)),
        ("MT5ForConditionalGeneration", dict(feed_forward_proj="gated-gelu")),
    ],
)
def test_live(kind, changed, tmp_path):
    import record_t5 as record

    model, values = record.make(kind, changed, 5, 0.25), record.inputs_for(3)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="6KB")
    assert (tmp_path / "theirs" / files.INDEX).is_file()
    found = pretrained.load(tmp_path / "theirs")
    agrees(found, values, record.reference(model, values))
    path = pretrained.save(tmp_path / "ours", found)
    again, report = type(model).from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    agrees(found, values, record.reference(again.eval(), values))
