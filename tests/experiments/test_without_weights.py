"""Models without weights in studies, and options that a family has not."""

import gzip
import io
import struct

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from rich.console import Console
from tiny_study import small, strategies, write

from configs import base as defaults
from configs.strategies import FROM_SCRATCH
from experiments import backbone, launch, store
from experiments.dry_run import dry_run
from experiments.held_out import split
from experiments.plans import first_plan
from experiments.predict import main
from experiments.problem import make_problem
from experiments.settings import check
from experiments.strategies import make_strategy
from tl_jax import distribute
from tl_jax.tree import NoMatch, flatten

ONE = distribute.layout(devices=jax.local_devices()[:1])


def config_of(spec: str, **model) -> ConfigDict:
    """A study of the digits from scratch at 16 pixels."""
    config = defaults.get_config()
    config.model.spec = spec
    config.model.update(model)
    config.data.source = "digits"
    config.data.size = 16
    config.data.test_limit = 40
    config.steps, config.batch_size, config.eval_batch_size = 30, 32, 200
    config.every.evaluate = 30
    config.resamples = 10
    return strategies(config, from_scratch=FROM_SCRATCH | {"rate": 1e-2})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Grey digits by a narrow Conv4, trained from nothing."""
    folder = tmp_path_factory.mktemp("scratch")
    config = config_of("shape:conv4", channels=1, filters=8)
    config.data.mean, config.data.std = (0.3,), (0.4,)
    launch.study(config, folder / "runs", ["test"], lambda: False)
    return folder, config


def test_a_study_trains_a_model_by_name(study):
    folder, _ = study
    found = store.read_result(folder / "runs" / "from_scratch" / "0")
    assert found["test"]["accuracy"] > 0.5
    arrays, header = store.read_model(folder / "runs" / "from_scratch" / "0")
    assert header == {"spec": "shape:conv4", "hash": ""}
    assert arrays["blocks/0/conv/kernel"].shape == (3, 3, 1, 8)
    assert arrays["head/kernel"].shape == (8, 10)


def test_its_weights_predict(study):
    from PIL import Image

    folder, config = study
    problem = make_problem(config)
    run = folder / "runs" / "from_scratch" / "0"
    saved = dict(np.load(run / "predictions.npz"))
    pictures, rows = folder / "new", saved["index"][:12]
    pictures.mkdir()
    for row in rows:
        pixels = problem.examples.inputs["image"][row, ..., 0]
        Image.fromarray(pixels).save(pictures / f"{row:04}.png")
    flags = [f"--workdir={folder / 'runs'}", f"--input={pictures}"]
    assert main([*flags, f"--output={folder / 'answers.csv'}"]) == 0
    lines = (folder / "answers.csv").read_text().splitlines()
    where = lines[0].split(",").index("label")
    labels = [int(line.split(",")[where]) for line in lines[1:]]
    assert sorted(rows) == rows.tolist()
    assert labels == saved["predictions"][:12].tolist()


def test_the_pipeline_has_the_configs_mean_and_std():
    own = config_of("shape:conv4", channels=1)
    own.data.mean, own.data.std = (0.25,), (0.5,)
    found = backbone.load_base(own, ONE).preprocess
    image = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    image = np.broadcast_to(image, (2, 16, 16, 1))
    shown = np.asarray(found({"image": image})["image"])[:, 0, 0, 0]
    np.testing.assert_allclose(shown, [-0.5, 1.5], atol=1e-6)
    lite = config_of("shape:efficientnet-lite0")
    lite.data.std = (0.5, 0.25, 0.2)  # its own mean stays, in other units
    found = backbone.load_base(lite, ONE).preprocess
    np.testing.assert_allclose(found.mean, [127 / 255] * 3, atol=1e-6)
    assert (found.std, found.scale) == ((0.5, 0.25, 0.2), 1 / 255)


@pytest.mark.parametrize(
    "spec, model, width",
    [
        ("shape:resnet18", dict(stem="cifar"), 512),
        ("shape:vit-tiny", dict(patch=4, features="mean"), 192),
        ("shape:mobilenet-v2", dict(multiplier=0.35), 1280),
        ("shape:efficientnet-lite0", {}, 1280),
    ],
)
def test_families_are_of_the_size_that_the_config_says(spec, model, width):
    base = backbone.load_base(config_of(spec, **model), ONE)

    def logits(key):
        params, stats = base.model.init(key)
        image = np.zeros((2, 16, 16, 3), np.uint8)
        return base.model.apply(params, stats, {"image": image})[0].features

    assert base.preprocess.size == (16, 16)
    assert jax.eval_shape(logits, jax.random.key(0)).shape == (2, width)


def test_a_dry_run_of_a_model_by_name():
    config = config_of("shape:resnet18", stem="cifar")
    written = io.StringIO()
    (needs,) = dry_run(config, Console(file=written, width=200))
    assert needs.total == 11_173_962  # as CIFAR's usual code has it, with 10 classes
    assert needs.products > 0


def test_texts_need_a_tokenizer_from_elsewhere(tiny_model, tmp_path):
    source = write(tmp_path, "classification", ".csv")
    config = small("shape:bert-tiny", source)
    config = strategies(config, from_scratch=FROM_SCRATCH | {"rate": 1e-3})
    with pytest.raises(ValueError, match=r"config\.model\.tokenizer is empty"):
        make_problem(config)
    config.model.tokenizer = str(tiny_model)
    problem = make_problem(config)
    assert problem.base.tokenizer.length == 512
    assert problem.encoded.columns["tokens"].rows == 60
    strategy = make_strategy("from_scratch", config)
    plan = first_plan(problem, strategy, jax.random.key(0))
    assert plan.params["head"]["kernel"].shape == (128, 3)


def test_pretrained_weights_of_a_name_are_refused():
    config = config_of("shape:conv4")
    config.strategies.full = {"rate": 1e-3}
    config.run = "from_scratch,full"
    check(config)
    with pytest.raises(ValueError, match=r"config\.run: 'full'.*without: from_scratch"):
        make_problem(config)


BAD = {
    "unknown name": (
        "shape:cnv4",
        {},
        r"config\.model\.spec 'shape:cnv4'.*shape:conv4",
    ),
    "unknown stem": ("shape:resnet18", dict(stem="cifra"), r"model\.stem.*cifar"),
    "no stem": ("shape:conv4", dict(stem="cifar"), r"model\.stem.*no option 'stem'"),
    "nearest first": ("shape:conv4", dict(patch=4), r"first: .*config\.model\.filters"),
    "patches": ("shape:vit-tiny", dict(patch=5), "'shape:vit-tiny': an image of 16"),
    "dropout": ("shape:conv4", dict(dropout=1.0), r"config\.model\.dropout is 1\.0"),
    "recomputing": ("shape:conv4", dict(remat=True), r"config\.model\.remat is True"),
    "a file's": (
        "shape:conv4",
        dict(architecture="resnet18"),
        "for a file of weights",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_names_the_field(case):
    spec, model, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        backbone.load_base(config_of(spec, **model), ONE)


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("mean", (0.5, 0.5), r"data\.mean is \(0\.5, 0\.5\), expected a number.*or 3"),
        ("std", (0.0,), r"data\.std is \(0\.0,\), expected more than 0"),
        ("mean", ("a",), r"data\.mean is \('a',\), expected a number"),
        ("mean", (127.0,), r"data\.mean is \(127\.0,\), expected a number from 0 to 1"),
    ],
)
def test_a_mean_that_cannot_be(name, value, said):
    config = config_of("shape:conv4")
    config.data[name] = value
    with pytest.raises(ValueError, match=said):
        backbone.load_base(config, ONE)


@pytest.mark.parametrize(
    "place, rates",
    [
        ("bert/bert_model", {"rate", "attention_rate", "head_rate"}),
        ("llama/llama_words", {"attention_rate"}),
        ("vision/vit_model", {"rate", "attention_rate", "head_rate"}),
        ("vision/resnet_basic", {"rate"}),
        ("vision/mobilenet", {"rate"}),
    ],
)
def test_dropout_sets_the_rates_that_a_family_has(place, rates, golden):
    config = config_of(str(golden / place), dropout=0.25)
    options = backbone.options_of(config, ONE)
    assert dict.fromkeys(rates, 0.25) == {
        name: value for name, value in options.items() if name.endswith("rate")
    }
    assert backbone.load_base(config, ONE).params


def test_norms_by_replica_where_there_are_none(golden):
    config = config_of(str(golden / "bert" / "bert_model"))
    config.mesh.batch_norm = "replica"
    said = r"config\.mesh\.batch_norm is 'replica'.*\(bert\), has no option 'norm_gr"
    with pytest.raises(ValueError, match=said):
        backbone.load_base(config, ONE)
    config.model.spec = str(golden / "vision" / "resnet_basic")
    assert backbone.options_of(config, ONE)["norm_groups"] == 1


def test_labels_of_words_need_a_model_of_words(golden):
    config = config_of(str(golden / "vision" / "resnet_basic"))
    config.task = "tokens"
    with pytest.raises(ValueError, match=r"config\.task is 'tokens'.*no option 'over'"):
        backbone.load_base(config, ONE)


def test_a_transformer_from_scratch_has_the_size_of_its_pictures(golden):
    """Not only the weights that were read are made to fit."""
    config = config_of(str(golden / "vision" / "vit_image"))
    base = backbone.load_base(config, ONE)
    params, stats = base.model.init(jax.random.key(0))
    shapes = {path: leaf.shape for path, leaf in flatten(params).items()}
    assert shapes == {path: leaf.shape for path, leaf in flatten(base.params).items()}
    image = np.zeros((1, 16, 16, 3), np.uint8)
    found, _ = base.model.apply(params, stats, {"image": image})
    assert found.tokens.shape[1] == 17


def test_idx_files_are_a_source(tmp_path):
    """MNIST's four files train and test a model by name."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 30), ("t10k", 6)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        pixels = rng.integers(0, 256, (count, 9, 9), np.uint8)
        for half, code, held in (("images", 3, pixels), ("labels", 1, labels)):
            head = bytes([0, 0, 8, code]) + struct.pack(f">{code}I", *held.shape)
            file = tmp_path / f"{name}-{half}-idx{code}-ubyte.gz"
            file.write_bytes(gzip.compress(head + held.tobytes()))
    config = config_of("shape:conv4", channels=1)
    config.data.source = str(tmp_path)
    problem = make_problem(config)
    assert problem.encoded.columns["image"].shape == (36, 16, 16, 1)
    rows = split(problem.examples, config, 0)
    assert rows["test"].tolist() == list(range(30, 36))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="t10k-images.* has no labels beside it"):
        make_problem(config)


def test_unknown_names_are_no_match():
    with pytest.raises(NoMatch, match="nearest: shape:vit-tiny"):
        backbone.options_of(config_of("shape:vit-tini"), ONE)
