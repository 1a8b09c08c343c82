"""Models by name without weights: sizes, options, and what a spec is told of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import pretrained
from tl_jax.pretrained.shapes import SHAPES, abstract, options_of
from tl_jax.tree import NoMatch, count

COUNTS = {
    "bert-tiny": 4_385_920 - 16_512,
    "bert-mini": 11_170_560 - 65_792,
    "bert-small": 28_763_648 - 262_656,
    "bert-base": 109_482_240 - 590_592,
    "bert-large": 335_141_888 - 1_049_600,
    "llama-1b": 1_100_048_384 - 32_000 * 2048,
    "llama-7b": 6_738_415_616 - 32_000 * 4096,
    "vit-tiny": 5_717_416 - 193_000,
    "vit-small": 22_050_664 - 385_000,
    "vit-base": 86_567_656 - 769_000,
    "vit-large": 304_326_632 - 1_025_000,
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet101": 44_549_160 - 2_049_000,
    "resnet152": 60_192_808 - 2_049_000,
    "t5-micro": 32128 * 64
    + 2 * (3 * 4 * 64 * 64 + 2 * 2 * 64 * 128 + 5 * 64)
    + 2 * (32 * 4 + 64),
    "t5-tiny": 15_570_688,
    "t5-mini": 31_220_480,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "conv4": 113_088,
    "linear": 0,
    "mlp": (1 + 1) * 128 + (128 + 1) * 128,
    "mobilenet-v2": 3_504_872 - 1_281_000,
    "efficientnet-lite0": 4_652_008 - 1_281_000,
    "efficientnet-lite1": 5_416_680 - 1_281_000,
    "efficientnet-lite2": 6_092_072 - 1_281_000,
    "efficientnet-lite3": 8_197_096 - 1_281_000,
    "efficientnet-lite4": 13_006_568 - 1_281_000,
    "squeezenet1_0": 1_248_424 - 513_000,
    "squeezenet1_1": 1_235_496 - 513_000,
}
"""Published numbers of parameters, less those of the pooler or the output layer."""
PICTURES = {
    "conv4": dict(size=20, channels=1, filters=3, rules="auto"),
    "resnet18": dict(size=16, stem="cifar", rules="auto", form="lax"),
    "resnet50": dict(size=64),
    "vit-tiny": dict(size=12, patch=4, features="mean"),
    "vit-small": dict(size=14, patch=7, features="pooler", remat=True),
    "mobilenet-v2": dict(size=64, multiplier=0.25, channels=1),
    "efficientnet-lite0": dict(size=96),
    "squeezenet1_1": dict(size=64, channels=1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_sizes_are_the_published_ones(name):
    base = abstract(f"shape:{name}")
    assert count(base.params) == COUNTS[name]
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(base[1:3]))
    assert "head" not in base.params


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_the_size_that_is_asked_for(name):
    options = PICTURES[name]
    base = abstract(f"shape:{name}", head="drop", dtype=jnp.bfloat16, **options)
    own, size = base.preprocess, (options["size"],) * 2
    assert own.size == size
    fitted = own.fit(np.zeros((40, 50, 3), np.uint8))
    assert fitted.shape == (*size, options.get("channels", 3))

    def features(params, stats, image):
        return base.model.apply(params, stats, own({"image": image}))[0].features

    image = jax.ShapeDtypeStruct((2, *fitted.shape), jnp.uint8)
    made = jax.eval_shape(base.model.init, jax.random.key(0))
    assert jax.tree.map(lambda leaf: leaf.shape, made) == jax.tree.map(
        lambda leaf: leaf.shape, (base.params, base.stats)
    )
    found = jax.eval_shape(features, *made, image)
    assert found.shape == (2, base.model.width)


def test_options_change_the_model_that_they_are_of():
    cifar = abstract("shape:resnet18", stem="cifar")
    assert count(cifar.params) == 11_173_962 - 5_130  # as CIFAR's usual code has it
    assert cifar.params["embed"]["conv"]["kernel"].shape == (3, 3, 3, 64)
    assert (cifar.preprocess.size, cifar.preprocess.crop) == ((32, 32), None)
    patches = abstract("shape:vit-tiny", patch=4, size=32).params["embed"]
    assert patches["patches"]["kernel"].shape == (4, 4, 3, 192)
    assert patches["positions"]["embedding"].shape == (65, 192)
    half = abstract("shape:mobilenet-v2", multiplier=0.5)
    assert half.params["embed"]["conv"]["kernel"].shape == (3, 3, 3, 16)


def test_the_usual_pipelines():
    resnet = abstract("shape:resnet18", size=112).preprocess
    assert (resnet.resize, resnet.crop) == (128, (112, 112))
    assert resnet.mean == (0.485, 0.456, 0.406)
    lite = abstract("shape:efficientnet-lite2").preprocess
    assert (lite.resize, lite.crop, lite.resample) == (292, (260, 260), "bicubic")
    grey = abstract("shape:efficientnet-lite0", channels=1).preprocess
    assert (grey.mean, grey.std, grey.scale) == ((127.0,), (128.0,), 1.0)
    assert abstract("shape:conv4").preprocess.size == (84, 84)


@pytest.mark.parametrize(
    "spec, options, said",
    [
        ("shape:resnt18", {}, "spec 'shape:resnt18'.*nearest: shape:resnet18"),
        ("shape:resnet18", dict(stem="cifra"), "stem 'cifra'.*nearest: cifar"),
        ("shape:vit-tiny", dict(features="men"), "features 'men'.*nearest: mean"),
        ("shape:vit-tiny", dict(patch=5), "224 by 224 does not divide"),
        ("shape:conv4", dict(stem="cifar"), "shape:conv4 has no option 'stem'; near"),
        ("shape:conv4", dict(architecture="resnet18"), "for a file of weights alone"),
        ("shape:conv4", dict(size=8), "size 8 is too small for 4 halvings"),
        ("shape:conv4", dict(filters=0), "filters=0, expected a whole number >= 1"),
        ("shape:conv4", dict(rate=1.0), r"rate=1.0, expected a number in \[0, 1\)"),
        ("shape:mobilenet-v2", dict(multiplier=-1.0), "multiplier=-1.0, expected"),
    ],
)
def test_what_cannot_be(spec, options, said):
    with pytest.raises(ValueError, match=said):
        abstract(spec, **options)


def test_weights_are_not_to_be_had_of_a_name_alone():
    with pytest.raises(pretrained.NotFound, match="'shape:conv4' names a model with"):
        pretrained.load("shape:conv4")


def test_options_of_any_spec(golden, tmp_path):
    what, known = options_of("shape:conv4")
    assert what == "shape:conv4"
    assert {"size", "filters", "norm_groups", "rate"} <= set(known)
    what, known = options_of(str(golden / "llama" / "llama_words"))
    assert (what, known) == (
        "llama",
        ("over", "dtype", "rules", "remat", "attention_rate"),
    )
    file = tmp_path / "weights.pth"
    file.write_bytes(b"")  # it is not read
    what, known = options_of(str(file), architecture="resnet18")
    assert what == "resnet"
    assert "rate" in known
    assert "attention_rate" not in known
    with pytest.raises(NoMatch, match="nearest: shape:conv4"):
        options_of("shape:conv5")


def test_a_file_of_weights_by_its_architecture_alone(tmp_path):
    """As a dry run sees it: the tree, the pipeline, no tensor."""
    file = tmp_path / "weights.pth"
    file.write_bytes(b"")
    base = abstract(str(file), architecture="resnet18", head="drop")
    fresh = abstract("shape:resnet18")
    assert jax.tree.structure(base.params) == jax.tree.structure(fresh.params)
    assert count(base.params) == COUNTS["resnet18"]
    assert base.preprocess == fresh.preprocess


def test_an_mlp_of_numbers():
    options = dict(inputs=2, widths=(3, 4), activation="tanh", std=0.5)
    base = abstract("shape:mlp", **options)
    assert base.preprocess is base.source["positions"] is None
    assert base.model.width == 4
    params, stats = base.model.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    want = x
    for site in params["blocks"].values():
        want = np.tanh(want @ np.asarray(site["kernel"]) + np.asarray(site["bias"]))
    found = base.model.apply(params, stats, {"features": x})[0].features
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="inputs=0, expected a whole number >= 1"):
        abstract("shape:mlp", inputs=0)
