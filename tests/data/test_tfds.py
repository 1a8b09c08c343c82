"""Reading TensorFlow Datasets without TensorFlow."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from tl_jax.data.pictures import Held
from tl_jax.data.tfds import from_tfds


@pytest.fixture(scope="module")
def folder(build_tfds, tmp_path_factory):
    from tensorflow_datasets import features

    rows = [{"x": np.array([i, -i], np.float32), "label": i % 2} for i in range(7)]
    return build_tfds(
        tmp_path_factory.mktemp("tfds") / "tiny" / "1.0.0",
        {
            "x": features.Tensor(shape=(2,), dtype=np.float32),
            "label": features.ClassLabel(names=["low", "high"]),
        },
        {"train": rows[:5], "test": rows[5:]},
    )


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
    assert (read.licence, read.notes) == ("CC-BY-4.0", ())


def test_a_folder_is_read_by_its_path(folder):
    assert from_tfds(str(folder), ["test"]).inputs["x"].shape == (2, 2)


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
        flowers = from_tfds("tf_flowers", ["train"])
        reviews = from_tfds("imdb_reviews", ["test"])
    assert images.inputs["image"].shape == (3, 28, 28, 1)
    assert len(images.classes) == 10
    assert len({flowers.inputs["image"].at(row).size for row in range(3)}) > 1
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


def file_of(level, size, mode="RGB", kind="PNG"):
    """The bytes of a picture of one colour."""
    colour = level if mode == "L" else (level, 0, 0, 0)[: len(mode)]
    made = io.BytesIO()
    Image.new(mode, size, colour).save(made, kind)
    return made.getvalue()


@pytest.fixture
def pictures(build_tfds, tmp_path):
    """(shape, files, more=None, labels=None) -> a builder of pictures of 2 classes."""
    tfds = pytest.importorskip("tensorflow_datasets")

    def build(shape, files, more=None, labels=None, named="image"):
        features = {
            named: tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(names=["a", "b"]),
            **{key: feature for key, (feature, _) in (more or {}).items()},
        }
        beside = {key: value for key, (_, value) in (more or {}).items()}
        labels = labels or [i % 2 for i in range(len(files))]
        rows = [
            {named: file, "label": label, **beside}
            for file, label in zip(files, labels, strict=True)
        ]
        made = build_tfds(tmp_path / "shots" / "1.0.0", features, {"train": rows})
        return tfds.builder_from_directory(made)

    return build


def levels(read):
    """The red of each picture's first pixel, by label."""
    column = read.inputs["image"]
    found = [np.asarray(column.at(row))[0, 0, 0] for row in range(column.rows)]
    return sorted(zip(read.labels.tolist(), found, strict=True))


def test_pictures_of_several_sizes_stay_files(pictures):
    sizes = [(4, 6), (8, 3), (5, 5)]
    files = [file_of(10 * i, size) for i, size in enumerate(sizes)]
    read = from_tfds(pictures((None, None, 3), files))
    column = read.inputs["image"]
    assert isinstance(column, Held)
    assert set(column.values) == set(files)
    assert {column.at(row).size for row in range(3)} == set(sizes)
    assert levels(read) == [(0, 0), (0, 20), (1, 10)]


@pytest.mark.parametrize("mode, channels", [("RGB", 3), ("L", 1)])
def test_pictures_of_one_size_are_an_array(mode, channels, pictures):
    files = [file_of(10 * i, (6, 4), mode) for i in range(3)]
    read = from_tfds(pictures((4, 6, channels), files))
    column = read.inputs["image"]
    assert (column.shape, column.dtype) == ((3, 4, 6, channels), np.uint8)
    assert sorted(column[:, 0, 0, 0].tolist()) == [0, 10, 20]


def test_grey_files_of_coloured_features_and_transparent_ones(pictures):
    files = [file_of(9, (4, 4), "L"), file_of(9, (4, 4), "RGBA")]
    read = from_tfds(pictures((4, 4, 3), files), background="#010203")
    found = {
        label: read.inputs["image"][i, 0, 0] for i, label in enumerate(read.labels)
    }
    assert found[0].tolist() == [9, 9, 9]
    assert found[1].tolist() == [1, 2, 3]


def test_rows_without_a_class_are_left_out_and_counted(pictures):
    files = [file_of(10 * i, (4, 4 + i)) for i in range(3)]
    read = from_tfds(pictures((None, None, 3), files, labels=[1, -1, 0]))
    assert levels(read) == [(0, 20), (1, 0)]
    assert read.splits["train"].tolist() == [0, 1]
    assert read.notes == ("1 rows have no class and are left out",)


def test_other_features_are_left_out_and_named(pictures):
    from tensorflow_datasets import features as f

    more = {
        "mask": (f.Image(shape=(None, None, 1)), file_of(0, (2, 2), "L")),
        "boxes": (f.Sequence(f.BBoxFeature()), []),
        "id": (f.Tensor(shape=(), dtype=np.int64), 7),
    }
    builder = pictures((4, 4, 3), [file_of(1, (4, 4))] * 2, more)
    read = from_tfds(builder)
    assert set(read.inputs) == {"image", "id"}
    assert read.notes == (
        "left out, as of no fixed shape: boxes",
        "left out, as pictures beside 'image': mask",
    )
    masks = from_tfds(builder, inputs=["mask"]).inputs["mask"]
    assert masks.shape == (2, 2, 2, 1)
    with pytest.raises(ValueError, match=r"'boxes' is Sequence.*such as label"):
        from_tfds(builder, label="boxes")
    with pytest.raises(ValueError, match="'mask' is Image"):
        from_tfds(builder, label="mask")


def test_no_feature_of_the_name_image(pictures):
    builder = pictures((4, 4, 3), [file_of(1, (4, 4))], named="photo")
    with pytest.raises(ValueError, match=r"no feature 'image'; pictures are in photo"):
        from_tfds(builder)


def test_a_damaged_picture_is_named_by_its_row(pictures):
    builder = pictures((None, None, 3), [file_of(1, (40, 40))[:60]])
    with pytest.raises(ValueError, match="shots: row 0"):
        from_tfds(builder)


def test_where_tfds_is_missing_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[tfds\]'"):
        from_tfds("mnist")
