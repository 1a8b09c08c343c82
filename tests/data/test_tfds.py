"""Reading TensorFlow Datasets without TensorFlow."""

import numpy as np
import pytest

from tl_jax.data.readers import from_tfds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds") / "tiny" / "1.0.0"
    folder.mkdir(parents=True)
    feature = tfds.features.FeaturesDict(
        {
            "x": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            "label": tfds.features.ClassLabel(names=["low", "high"]),
        }
    )
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="tiny", version="1.0.0", data_dir=str(folder), module_name="tests"
    )
    info = tfds.core.DatasetInfo(builder=identity, features=feature)
    writer = tfds.core.SequentialWriter(info, 100, file_format="array_record")
    writer.initialize_splits(["train", "test"])
    rows = [{"x": np.array([i, -i], np.float32), "label": i % 2} for i in range(7)]
    writer.add_examples({"train": rows[:5], "test": rows[5:]})
    writer.close_all()
    return folder


@pytest.fixture
def builder(folder):
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(folder)


def test_splits_features_and_classes(builder):
    read = from_tfds(builder)
    assert read.classes == ("low", "high")
    assert {k: len(v) for k, v in read.splits.items()} == {"train": 5, "test": 2}
    train = read.splits["train"]
    np.testing.assert_array_equal(np.sort(read.inputs["x"][train][:, 0]), np.arange(5))
    np.testing.assert_array_equal(read.labels, read.inputs["x"][:, 0] % 2)


def test_unknown_feature_is_named(builder):
    with pytest.raises(ValueError, match="'lable'; nearest: label"):
        from_tfds(builder, label="lable")


def test_unknown_split_is_named(builder):
    with pytest.raises(ValueError, match="'trian'; nearest: train"):
        from_tfds(builder, ["trian"])


def test_published_names_and_their_texts():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=3):
        images = from_tfds("mnist", ["train"])
        reviews = from_tfds("imdb_reviews", ["test"])
    assert images.inputs["image"].shape == (3, 28, 28, 1)
    assert len(images.classes) == 10
    assert all(isinstance(text, str) for text in reviews.inputs["text"])
    assert reviews.classes == ("neg", "pos")


def test_unknown_and_unprepared_names_are_told(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    with pytest.raises(ValueError, match=r"'mnits'.*nearest: mnist"):
        from_tfds("mnits")
    plain = tfds.builder
    monkeypatch.setattr(tfds, "builder", lambda name: plain(name, data_dir=tmp_path))
    with pytest.raises(FileNotFoundError, match="mnist: nothing to read in"):
        from_tfds("mnist")
