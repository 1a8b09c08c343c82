"""Files of weights without a config: torchvision's names, and those of conversions."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agree import best, distance, photographs, run
from seeded import arrays_of, pictures
from state_dict_records import TOLERANCE, recorded, shapes

from tl_jax import pretrained
from tl_jax.pretrained import files


@pytest.fixture(scope="module")
def values(golden) -> dict[str, np.ndarray]:
    return recorded(golden, "mobilenet_v2")


@pytest.fixture(scope="module")
def weights(values) -> dict[str, np.ndarray]:
    return arrays_of(shapes(values))


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "weights.safetensors"
    files.write(weights, path)
    return path


@pytest.fixture
def load(file):
    return partial(pretrained.load, file, architecture="mobilenet_v2")


def test_names_of_many_devices(load, weights, tmp_path):
    path = tmp_path / "parallel.safetensors"
    files.write({f"module.{name}": a for name, a in weights.items()}, path)
    found = pretrained.load(path, architecture="mobilenet_v2")
    np.testing.assert_array_equal(
        found.params["head"]["kernel"], load().params["head"]["kernel"]
    )
    assert found.params["head"]["kernel"].shape == (1280, 10)


def test_the_pipeline_of_torchvision(load):
    preprocess = load().preprocess
    assert preprocess.resize == 256
    assert preprocess.crop == preprocess.size == (224, 224)
    assert preprocess.resample == "bilinear"
    assert preprocess.mean == (0.485, 0.456, 0.406)


def test_a_dropped_head(load):
    found = load(head="drop")
    assert set(found.params) == {"embed", "blocks", "neck"}
    assert found.source["omitted"]["classifier.1.weight"] == "head dropped"
    outputs, _ = run(found, pictures(32))
    assert outputs.logits is None
    assert outputs.features.shape == (4, 1280)


def test_half_precision_products(load, values):
    low = load(dtype=jnp.bfloat16)
    assert low.source["options"]["dtype"] == "bfloat16"
    assert {leaf.dtype for leaf in jax.tree.leaves(low.params)} == {jnp.dtype("f4")}
    seen = np.asarray(run(low, pictures())[0].logits)
    assert 1e-3 < distance(seen, values["logits"]) < 0.2
    assert np.corrcoef(seen.ravel(), values["logits"].ravel())[0, 1] > 0.99


def test_momentum_reaches_the_norms(load):
    """What is read of the outputs is one norm, and XLA computes no more."""
    moved, site = [], "embed/norm"
    for found in (load(), load(momentum=0.5)):

        def stem(params, stats, image, apply=found.model.apply):
            return apply(params, stats, {"image": image}, norm="batch")[1][site].mean

        after = jax.jit(stem)(found.params, found.stats, pictures(32))
        moved.append(np.asarray(after - found.stats[site].mean))
    np.testing.assert_allclose(5 * moved[0], moved[1], atol=1e-5)


def test_dropout_reaches_the_model(load, values):
    found = load(rate=0.9, path_rate=0.5)
    assert found.source["options"]["rate"] == 0.9
    outputs, _ = run(found, pictures(), key=jax.random.key(0))
    assert distance(outputs.logits, values["logits"]) > 0.01
    assert distance(outputs.features[:, ::8], values["features"]) > 0.01


def test_saved_with_the_names_of_transformers(load, values, tmp_path):
    found = load()
    again = pretrained.load(pretrained.save(tmp_path / "saved", found))
    assert again.source["config"]["architectures"] == [
        "MobileNetV2ForImageClassification"
    ]
    assert "mobilenet_v2.conv_1x1.convolution.weight" in files.scan(tmp_path / "saved")
    assert again.preprocess == found.preprocess
    same = jax.tree.map(np.array_equal, (found.params, found.stats), again[1:3])
    assert all(jax.tree.leaves(same))
    assert distance(run(again, pictures())[0].logits, values["logits"]) <= TOLERANCE


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(architecture=None), r"does not say what model.*one of resnet18, "),
        (dict(architecture="resnet20"), r"architecture='resnet20'; nearest:.*resnet50"),
        (dict(head="dorp"), "known: keep, drop"),
        (dict(remat=True), "mobilenet_v2 has no option 'remat'"),
        (dict(attention_rate=0.1), "mobilenet_v2 has no option 'attention_rate'"),
        (dict(rate=1.5), "rate=1.5, expected a number in"),
        (dict(momentum="0.9"), "momentum='0.9', expected a number in"),
        (dict(norm_groups=0), "norm_groups=0, expected a whole number"),
        (dict(form="tap"), "form='tap'; known: auto, lax, taps"),
    ],
)
def test_bad_options_are_named(options, text, load):
    with pytest.raises(ValueError, match=text):
        load(**options)


def test_resnets_have_no_paths_to_drop(file):
    with pytest.raises(ValueError, match="resnet has no option 'path_rate'"):
        pretrained.load(file, architecture="resnet18", path_rate=0.1)


def test_weights_of_another_architecture_do_not_fit(file, weights, tmp_path):
    with pytest.raises(pretrained.Misfit, match=r"missing \(") as error:
        pretrained.load(file, architecture="efficientnet_lite0")
    assert "_conv_stem.weight (embed/conv/kernel) [32 3 3 3]" in str(error.value)
    headless = {n: a for n, a in weights.items() if "classifier" not in n}
    files.write(headless, tmp_path / "x.safetensors")
    with pytest.raises(pretrained.Misfit, match=r"classifier\.1\.weight"):
        pretrained.load(tmp_path / "x.safetensors", architecture="mobilenet_v2")


@pytest.mark.parametrize("form", ["zip", "stream"])
def test_files_of_torch_are_opened(form, golden):
    file = golden / "torch" / f"{form}.pth"
    with pytest.raises(
        pretrained.Misfit, match=r"conv1\.weight \(embed/conv/ke"
    ) as error:
        pretrained.load(file, architecture="resnet18")
    assert "inner [3 2]" in str(error.value)


@pytest.mark.parametrize("spec", ["minilm", "efficientnet-lite0", "bert"])
def test_architecture_is_for_files_alone(spec, golden, monkeypatch):
    folder = golden / "bert/bert_model"
    monkeypatch.setattr("tl_jax.pretrained.spec._asset", lambda spec: folder)
    where = folder if spec == "bert" else spec
    with pytest.raises(ValueError, match="is for a file of weights alone"):
        pretrained.load(where, architecture="resnet18")


@pytest.mark.parametrize("name", ["weights.pth", "a.bin", "x.safetensors"])
def test_a_file_that_is_not_there_never_asks_a_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pretrained.NotFound, match=f"the file {name} does not exist"):
        pretrained.load(name, architecture="resnet18")


def test_real_lite0_recorded(lite0, golden):
    """Its pipeline too; photographs decode a little differently from day to day."""
    expected = np.load(golden / "lite0.npz")["logits"]
    outputs, _ = run(lite0, photographs(lite0.preprocess))
    assert distance(outputs.logits, expected) <= 1e-3
    assert best(outputs.logits) == best(expected)


def test_real_lite0_is_saved_to_the_byte(lite0, tmp_path):
    path = pretrained.save(tmp_path / "lite0", lite0)
    again = pretrained.load(path)
    assert again.source["hash"] == lite0.source["hash"]
    assert again.preprocess == lite0.preprocess
    head = {"kernel": np.ones((1280, 2), "f"), "bias": np.ones(2, "f")}
    tuned = lite0._replace(params=lite0.params | {"head": head})
    path = pretrained.save(tmp_path / "two", tuned, labels=["cat", "dog"])
    assert files.read_config(path)["id2label"] == {"0": "cat", "1": "dog"}
    assert pretrained.load(path).params["head"]["kernel"].shape == (1280, 2)
    body = pretrained.load(path, head="drop")
    path = pretrained.save(tmp_path / "body", body)
    assert files.read_config(path)["architectures"] == ["EfficientNetLiteModel"]


@pytest.mark.parity
def test_real_lite0_live(lite0):
    import record_state_dicts as record

    pixels = photographs(lite0.preprocess)
    expected = record.lite0(pixels, Path(lite0.source["folder"]))
    outputs, _ = run(lite0, pixels)
    assert distance(outputs.logits, expected) <= 1e-4
    assert best(outputs.logits) == best(expected)
    assert best(expected, 1) == [[698], [985]]  # a palace and a daisy
