"""Reading TensorFlow Datasets without TensorFlow."""

import numpy as np
import pytest

from tl_jax.data.readers import from_tfds


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    feature = tfds.features.FeaturesDict(
        {
            "x": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            "label": tfds.features.ClassLabel(names=["low", "high"]),
        }
    )

    def rows(start, count):
        for i in range(start, start + count):
            yield {"x": np.array([i, -i], np.float32), "label": i % 2}

    return tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=feature,
        split_datasets={"train": rows(0, 5), "test": rows(5, 2)},
        data_dir=tmp_path_factory.mktemp("tfds"),
        file_format="array_record",
        disable_shuffling=True,
    )


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


def test_mock_data_serves_a_published_builder(builder):
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=3):
        read = from_tfds(builder, ["train"])
    assert len(read.labels) == 3
