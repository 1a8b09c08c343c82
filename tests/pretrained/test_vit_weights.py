"""ViT's files against transformers: recorded always, live with `-m parity`."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from agree import TOLERANCE, agrees, distance, run, same_files, values_of

from tl_jax import pretrained, transfer
from tl_jax.pretrained import files

NAMES = ("vit_model", "vit_image")
PLACES = {0: 0, 1: 1, 2: 2}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_outputs(name, golden):
    found, expected = pretrained.load(golden / "vision" / name), values_of(golden, name)
    outputs, _ = run(found, expected["image"])
    agrees(outputs, expected, PLACES)


def test_recorded_pooler(golden):
    expected = values_of(golden, "vit_model")
    found = pretrained.load(golden / "vision/vit_model", features="pooler")
    outputs, _ = run(found, expected["image"])
    assert distance(outputs.features, expected["pooler"]) <= TOLERANCE
    assert found.preprocess.size == (8, 12)
    assert found.tokenizer is None


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_is_equal_to_the_byte(name, golden, tmp_path):
    found = pretrained.load(golden / "vision" / name)
    path = pretrained.save(tmp_path / "saved", found)
    same_files(golden / "vision" / name, path)
    again = pretrained.load(path)
    assert again.source["hash"] == found.source["hash"]
    assert again.preprocess == found.preprocess


def test_resized_positions_are_saved_with_their_size(golden, tmp_path):
    found = pretrained.load(golden / "vision/vit_image")
    wide = transfer.resize_positions((3, 5))
    plan = wide(jax.random.key(0), transfer.full(found.params))
    tuned = found._replace(params=plan.params)
    with pytest.raises(ValueError, match=r"holds 15 positions.*no square"):
        pretrained.save(tmp_path / "x", tuned)
    size = replace(found.preprocess, size=(12, 20), resize=(12, 20))
    path = pretrained.save(tmp_path / "wide", tuned._replace(preprocess=size))
    assert files.read_config(path)["image_size"] == [12, 20]
    again = pretrained.load(path)
    assert again.preprocess == size
    image = np.random.default_rng(0).normal(size=(1, 12, 20, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        run(again, image)[0].logits, run(tuned, image)[0].logits
    )


def test_a_new_head_and_a_dropped_one(golden, tmp_path):
    base = pretrained.load(golden / "vision/vit_model")
    head = {"kernel": np.ones((16, 2), "f"), "bias": np.zeros(2, "f")}
    tuned = base._replace(params=base.params | {"head": head})
    path = pretrained.save(tmp_path / "tuned", tuned, labels=["a", "b"])
    config = files.read_config(path)
    assert config["architectures"] == ["ViTForImageClassification"]
    assert config["id2label"] == {"0": "a", "1": "b"}
    again = pretrained.load(path)
    assert "vit.pooler.dense.weight" in again.source["omitted"]
    np.testing.assert_array_equal(again.params["head"]["kernel"], head["kernel"])
    dropped = pretrained.load(path, head="drop", features="mean")
    assert set(dropped.params) == {"embed", "blocks", "norm"}
    path = pretrained.save(tmp_path / "body", dropped)
    assert files.read_config(path)["architectures"] == ["ViTModel"]


@pytest.mark.parametrize(
    "field, value, text",
    [
        ("image_size", 9, "image_size and patch_size: an image of 9 by 9"),
        ("image_size", "8", "image_size is '8', expected a whole number or two"),
        ("num_attention_heads", 3, "no multiple of num_attention_heads 3"),
        ("hidden_act", "gelu_nwe", "nearest: gelu_new"),
        ("pooler_act", "relu", "pooler_act is 'relu'"),
        ("qkv_bias", "yes", "qkv_bias is 'yes', supported is True or False"),
        ("architectures", ["ViTForMaskedImageModeling"], "known: ViTModel, ViTFor"),
    ],
)
def test_unsupported_settings_are_named(field, value, text, golden, tmp_path):
    folder = tmp_path / "edited"
    shutil.copytree(golden / "vision/vit_model", folder)
    config = files.read_config(folder) | {field: value}
    (folder / files.CONFIG).write_text(json.dumps(config))
    with pytest.raises(pretrained.Unsupported, match=text):
        pretrained.load(folder)


@pytest.mark.parametrize(
    "name, options, text",
    [
        ("vit_image", dict(features="mean"), "reads 'cls'; drop it"),
        ("vit_model", dict(features="max"), "known: cls, mean, pooler"),
        ("vit_model", dict(over="tokens"), "vit has no option 'over'"),
    ],
)
def test_options_that_contradict_raise(name, options, text, golden):
    with pytest.raises(ValueError, match=text):
        pretrained.load(golden / "vision" / name, **options)


@pytest.mark.parity
@pytest.mark.parametrize("changed", [{}, dict(qkv_bias=False), dict(hidden_act="relu")])
@pytest.mark.parametrize("kind", ["ViTModel", "ViTForImageClassification"])
def test_live(kind, changed, tmp_path):
    import record_vision as record

    model = record.make(kind, record.VIT | changed, seed=5)
    model.save_pretrained(tmp_path / "theirs")
    found, image = pretrained.load(tmp_path / "theirs"), record.image_for("vit_image")
    agrees(run(found, image)[0], record.reference(model, image), PLACES)
    path = pretrained.save(tmp_path / "ours", found)
    again, report = type(model).from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    agrees(run(found, image)[0], record.reference(again.eval(), image), PLACES)


@pytest.mark.parity
@pytest.mark.parametrize("grid", [(2, 2), (5, 5), (3, 7), (1, 4)])
def test_interpolated_positions_live(grid, tmp_path):
    import record_vision as record
    import torch

    model = record.make("ViTForImageClassification", record.VIT | dict(image_size=16))
    model.save_pretrained(tmp_path)
    found = pretrained.load(tmp_path)
    plan = transfer.resize_positions(grid)(None, transfer.full(found.params))
    tall, broad = 4 * grid[0], 4 * grid[1]
    image = np.random.default_rng(0).normal(size=(2, tall, broad, 3)).astype("f")
    pixels = torch.tensor(np.moveaxis(image, -1, 1).copy())
    with torch.no_grad():
        expected = model(pixel_values=pixels, interpolate_pos_encoding=True).logits
    outputs, _ = run(found._replace(params=plan.params), image)
    assert distance(outputs.logits, expected.numpy()) <= TOLERANCE
