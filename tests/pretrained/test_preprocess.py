"""The image pipeline: by hand, in files, and as transformers and Pillow have it."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from tl_jax import pretrained
from tl_jax.pretrained.preprocess import (
    FILE,
    Preprocess,
    center,
    from_config,
    load_preprocess,
    save_preprocess,
    target,
    to_config,
)

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)
PLAIN = Preprocess(size=(8, 8), resize=(8, 8))


def test_normalising_by_hand():
    given = dict(mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0), order="BGR")
    image = RNG.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found = jax.jit(replace(PLAIN, **given))({"image": image, "other": 1})
    expected = (image[..., ::-1] / 255 - given["mean"]) / given["std"]
    assert found["image"].dtype == np.float32
    assert found["other"] == 1
    np.testing.assert_allclose(found["image"], expected, atol=1e-6)
    same = jax.jit(PLAIN)({"image": image.astype(np.float32)})["image"]
    np.testing.assert_array_equal(same, jax.jit(PLAIN)({"image": image})["image"])


def test_only_a_fixed_size_is_resized_on_the_device():
    image = np.full((2, 12, 10, 1), 51, np.uint8)
    fixed = PLAIN({"image": image})["image"]
    assert fixed.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(fixed, -0.6, atol=1e-5)
    assert replace(PLAIN, fixed=False)({"image": image})["image"].shape == (
        2,
        12,
        10,
        3,
    )
    with pytest.raises(ValueError, match=r"\[12, 10, 1\], expected \[B H W 3\]"):
        PLAIN({"image": image[0]})


def test_sizes_of_the_short_edge():
    assert target(37, 53, 10) == (10, 14)
    assert target(53, 37, 10) == (14, 10)
    assert target(5, 5, 10) == (10, 10)
    assert target(53, 37, (4, 6)) == (4, 6)


@pytest.mark.parametrize("size", [(5, 4), (4, 9), (9, 3), (10, 11), (7, 6)])
def test_the_middle_by_a_loop(size):
    pixels = RNG.integers(1, 9, (7, 6, 2))
    found = center(pixels, size)
    for i in range(size[0]):
        for j in range(size[1]):
            a = i + (7 - size[0]) // 2
            b = j + (6 - size[1]) // 2
            inside = 0 <= a < 7 and 0 <= b < 6
            assert (found[i, j] == (pixels[a, b] if inside else 0)).all()


def test_pictures_of_every_kind():
    from PIL import Image

    colour = PLAIN.fit(PICTURE)
    assert colour.shape == (8, 8, 3)
    np.testing.assert_array_equal(PLAIN.fit(Image.fromarray(PICTURE)), colour)
    clear = np.dstack([PICTURE, np.full((37, 53), 9, np.uint8)])
    np.testing.assert_array_equal(PLAIN.fit(clear), colour)
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(PLAIN.fit(grey), PLAIN.fit(grey[..., None]))
    single = replace(PLAIN, channels=1).fit(grey)
    np.testing.assert_array_equal(single, PLAIN.fit(grey)[..., :1])
    as_is = replace(PLAIN, resize=None, crop=(5, 5))
    np.testing.assert_array_equal(as_is.fit(PICTURE), PICTURE[16:21, 24:29])
    with pytest.raises(ValueError, match=r"float64 \[37, 53, 3\], expected uint8"):
        PLAIN.fit(PICTURE / 255)


VIT = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.25, 0.5],
    "resample": 2,
    "size": {"height": 24, "width": 20},
}
MOBILE = VIT | {
    "size": {"shortest_edge": 32},
    "do_center_crop": True,
    "crop_size": {"height": 24, "width": 24},
    "resample": 3,
}
RESNET = VIT | {"size": {"shortest_edge": 28}, "crop_pct": 0.875, "resample": 3}
OLD = VIT | {"size": 24, "feature_extractor_type": "ViTFeatureExtractor"}
CONFIGS = {
    "exact": (VIT, dict(size=(24, 20), resize=(24, 20), crop=None)),
    "short": (MOBILE, dict(size=(24, 24), resize=32, crop=(24, 24))),
    "share": (RESNET, dict(size=(28, 28), resize=32, crop=(28, 28))),
    "warped": (
        RESNET | {"size": {"shortest_edge": 384}},
        dict(size=(384, 384), resize=(384, 384), crop=None),
    ),
    "old": (
        {k: v for k, v in OLD.items() if k != "image_processor_type"},
        dict(size=(24, 24), resize=(24, 24)),
    ),
    "as it is": (VIT | {"do_resize": False}, dict(size=(224, 224), resize=None)),
    "raw": (
        VIT | {"do_rescale": False, "do_normalize": False},
        dict(scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3),
    ),
    "flipped": (VIT | {"do_flip_channel_order": True}, dict(order="BGR")),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_are_read_and_written(name, tmp_path):
    config, expected = CONFIGS[name]
    found = from_config(config, Preprocess())
    for field, value in expected.items():
        assert getattr(found, field) == value, field
    assert from_config(to_config(found), Preprocess(size=found.size)) == found
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    (old / FILE).write_text(json.dumps(config))
    save_preprocess(new, old, found)
    assert (new / FILE).read_bytes() == (old / FILE).read_bytes()
    moved = replace(found, std=(0.1, 0.2, 0.3))
    save_preprocess(new, old, moved)
    assert load_preprocess(new, Preprocess(size=found.size)) == moved


def test_a_folder_without_a_file_has_the_default(tmp_path):
    assert load_preprocess(tmp_path, PLAIN) == PLAIN


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"size": {"longest_edge": 9}}, "size is {'longest_edge': 9}, supported"),
        ({"size": 0}, "size is 0"),
        ({"resample": 7}, "resample is 7; known: 0, 1, 2"),
        ({"image_mean": [0.5]}, r"image_mean is \[0.5\], expected 3 numbers"),
        ({"do_pad": True}, "do_pad is True, not supported"),
    ],
)
def test_unknown_steps_are_named(changed, text):
    with pytest.raises(pretrained.Unsupported, match=text):
        from_config(VIT | changed, Preprocess())


def test_the_pipeline_travels_with_the_weights(golden, tmp_path):
    found = pretrained.load(golden / "vision/vit_image")
    assert found.preprocess.size == (8, 8)
    mine = replace(found.preprocess, mean=(0.4,) * 3, resample="bicubic")
    path = pretrained.save(tmp_path / "m", found._replace(preprocess=mine))
    assert pretrained.load(path).preprocess == mine
    again = pretrained.save(tmp_path / "again", pretrained.load(path))
    assert (again / FILE).read_bytes() == (path / FILE).read_bytes()


def theirs(name):
    from transformers.models.convnext.image_processing_pil_convnext import (
        ConvNextImageProcessorPil,
    )
    from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import (
        MobileNetV2ImageProcessorPil,
    )
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    kinds = {"share": ConvNextImageProcessorPil, "short": MobileNetV2ImageProcessorPil}
    return kinds.get(name, ViTImageProcessorPil)


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(37, 53, 3), (53, 37, 3), (20, 24, 3), (9, 80, 3)])
@pytest.mark.parametrize("name", ["exact", "short", "share", "flipped", "raw"])
def test_live(name, shape, tmp_path):
    kind = theirs(name)
    config = {k: v for k, v in CONFIGS[name][0].items() if "flip" not in k}
    kind(**config).save_pretrained(tmp_path)
    found = load_preprocess(tmp_path, Preprocess())
    picture = RNG.integers(0, 256, shape, dtype=np.uint8)
    given = dict(return_tensors="np", input_data_format="channels_last")
    expected = kind(**config)(picture, **given)["pixel_values"]
    fitted = found.fit(picture)
    bare = dict(do_rescale=False, do_normalize=False)
    pixels = kind(**config)(picture, **given, **bare)["pixel_values"]
    np.testing.assert_array_equal(fitted, np.moveaxis(pixels[0], 0, -1))
    ours = found({"image": fitted[None]})["image"]
    far = np.abs(np.moveaxis(expected, 1, -1) - ours).max() / np.abs(expected).max()
    assert far <= 2e-6
    (tmp_path / FILE).write_text(json.dumps(to_config(found)))
    again = theirs("exact").from_pretrained(tmp_path)
    saved = again(picture, **given)["pixel_values"]
    np.testing.assert_array_equal(saved, expected)
