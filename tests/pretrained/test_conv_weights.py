"""ResNet's and MobileNetV2's files against transformers: recorded, and live."""

import json
import shutil

import numpy as np
import pytest
from agree import TOLERANCE, agrees, distance, run, same_files, values_of

from tl_jax import pretrained
from tl_jax.nn import Running
from tl_jax.pretrained import files
from tl_jax.pretrained.loading import recipe_of

PLACES = {
    "resnet_model": {0: 0, 1: 1, 2: 3, 3: 4},
    "resnet_basic": {0: 0, 1: 1, 2: 3, 3: 4},
    "resnet_deep": {0: 0, 1: 1, 2: 3, 3: 4},
    "mobilenet": {i: i + 2 for i in range(16)},
}
"""Model -> their number of a hidden state -> ours, which are one a block."""
TRAINED = 3e-4
"""With statistics of few values: torch's own float32 is 6e-5 from its float64."""


def moves(found, outputs, stats, expected: dict) -> None:
    """Batch statistics gave these logits and moved by these values."""
    told = {k.removeprefix("train/"): v for k, v in expected.items() if "train/" in k}
    if "logits" in told:
        assert distance(outputs.logits, told["logits"]) <= TRAINED
    recipe = recipe_of(found.source["config"], head=found.source["options"]["head"])
    names = {n.ours: n.theirs for n in recipe.layout.names if "stats/" in n.ours}
    assert len(names) == 2 * len(stats)
    moved = {k.removeprefix("stats/"): v for k, v in told.items() if "stats/" in k}
    plain = {k.removeprefix(f"{recipe.layout.prefix}."): v for k, v in moved.items()}
    for ours, theirs in names.items():
        site, _, field = ours.removeprefix("stats/").rpartition("/")
        assert isinstance(stats[site], Running)
        assert distance(getattr(stats[site], field), plain[theirs]) <= TRAINED, site


def same_everywhere(found, image, expected: dict, places: dict) -> None:
    """Outputs, features, and a step of the statistics."""
    outputs, kept = run(found, image)
    agrees(outputs, expected, places)
    if "pooler" in expected:
        assert distance(outputs.features, expected["pooler"]) <= TOLERANCE
    for site, node in kept.items():
        np.testing.assert_array_equal(node.mean, found.stats[site].mean)
    moves(found, *run(found, image, norm="batch"), expected)


@pytest.mark.parametrize("name", PLACES)
def test_recorded(name, golden):
    found, expected = pretrained.load(golden / "vision" / name), values_of(golden, name)
    same_everywhere(found, expected["image"], expected, PLACES[name])
    assert not found.preprocess.fixed


@pytest.mark.parametrize("name", PLACES)
def test_round_trip_is_equal_to_the_byte(name, golden, tmp_path):
    found = pretrained.load(golden / "vision" / name)
    path = pretrained.save(tmp_path / "saved", found)
    same_files(golden / "vision" / name, path)
    again = pretrained.load(path)
    assert again.source["hash"] == found.source["hash"]
    assert again.preprocess == found.preprocess


def test_the_usual_pipelines(golden):
    resnet = pretrained.load(golden / "vision/resnet_basic").preprocess
    assert (resnet.resize, resnet.crop, resnet.resample) == (256, (224, 224), "bicubic")
    mobile = pretrained.load(golden / "vision/mobilenet").preprocess
    assert (mobile.resize, mobile.crop, mobile.size) == (37, (32, 32), (32, 32))
    assert mobile.mean == mobile.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["resnet_basic", "mobilenet"])
def test_a_new_head_and_a_dropped_one(name, golden, tmp_path):
    base = pretrained.load(golden / "vision" / name, head="drop")
    assert "head" not in base.params
    assert "head dropped" in base.source["omitted"].values()
    path = pretrained.save(tmp_path / "body", base)
    (kind,) = files.read_config(path)["architectures"]
    assert kind.endswith("Model")
    counters = [n for n in files.scan(path) if n.endswith("num_batches_tracked")]
    assert len(counters) == len(base.stats)
    head = {"kernel": np.ones((base.model.width, 2), "f"), "bias": np.zeros(2, "f")}
    tuned = base._replace(params=base.params | {"head": head})
    path = pretrained.save(tmp_path / "tuned", tuned, labels=["a", "b"])
    config, again = files.read_config(path), pretrained.load(path)
    assert config["architectures"][0].endswith("ForImageClassification")
    assert config["id2label"] == {"0": "a", "1": "b"}
    np.testing.assert_array_equal(again.params["head"]["kernel"], head["kernel"])


@pytest.mark.parametrize(
    "name, field, value, text",
    [
        ("resnet_basic", "hidden_act", "gelu", "hidden_act is 'gelu', supported is"),
        ("resnet_basic", "layer_type", "deep", "layer_type is 'deep'; known: basic"),
        ("resnet_basic", "depths", [1, 0], r"depths is \[1, 0\], expected whole"),
        ("resnet_basic", "depths", [1, 1], "depths has 2 stages, hidden_sizes 3"),
        ("resnet_deep", "hidden_sizes", [2, 2, 2], "expected whole numbers >= 4"),
        ("resnet_basic", "downsample_in_first_stage", 2, "supported is False or True"),
        ("resnet_basic", "architectures", ["ResNetBackbone"], "known: ResNetModel"),
        ("mobilenet", "hidden_act", "relu", "supported is 'relu6'"),
        ("mobilenet", "output_stride", 8, "output_stride is 8, supported is 32"),
        ("mobilenet", "first_layer_is_expansion", False, "supported is True"),
        ("mobilenet", "expand_ratio", 2.5, "expand_ratio is 2.5, expected a whole"),
        ("mobilenet", "depth_multiplier", 0, "depth_multiplier is 0, expected"),
        ("mobilenet", "depth_divisible_by", 0.5, "expected a whole number >= 1"),
        ("mobilenet", "tf_padding", "no", "tf_padding is 'no', supported is True"),
    ],
)
def test_unsupported_settings_are_named(name, field, value, text, golden, tmp_path):
    folder = tmp_path / "edited"
    shutil.copytree(golden / "vision" / name, folder)
    config = files.read_config(folder) | {field: value}
    (folder / files.CONFIG).write_text(json.dumps(config))
    with pytest.raises(pretrained.Unsupported, match=text):
        pretrained.load(folder)


LIVE = [
    ("ResNetModel", "RESNET", dict(downsample_in_first_stage=True, num_channels=1)),
    ("ResNetForImageClassification", "DEEP", dict(downsample_in_bottleneck=True)),
    ("MobileNetV2Model", "MOBILE", dict(tf_padding=False, depth_multiplier=0.15)),
    ("MobileNetV2ForImageClassification", "MOBILE", dict(finegrained_output=True)),
    ("MobileNetV2ForImageClassification", "MOBILE", dict(depth_divisible_by=4)),
]


@pytest.mark.parity
@pytest.mark.parametrize("kind, settings, changed", LIVE)
def test_live(kind, settings, changed, tmp_path):
    import record_vision as record

    model = record.make(kind, getattr(record, settings) | changed, seed=5)
    model.save_pretrained(tmp_path / "theirs")
    found = pretrained.load(tmp_path / "theirs")
    channels = changed.get("num_channels", 3)
    image = np.random.default_rng(0).normal(size=(3, 45, 40, channels)).astype("f")
    places = PLACES["resnet_basic" if kind.startswith("ResNet") else "mobilenet"]
    expected = record.reference(model, image)
    same_everywhere(found, image, expected, places)
    path = pretrained.save(tmp_path / "ours", found)
    again, report = type(model).from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    agrees(run(found, image)[0], record.forward(again.eval(), image), places)
