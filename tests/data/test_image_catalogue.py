"""Readers of the catalogue's pictures, on packages of a few pictures.

The counts of the real ones are in test_catalogue.py.
"""

import gzip
import json
import struct

import numpy as np
import pytest
from PIL import Image

from tl_jax.data.image_catalogue import CLOTHES, read_emoji, read_fashion, read_mnist


def test_fashion_has_its_splits(tmp_path):
    folder = tmp_path / "usr" / "share" / "dataset"
    folder.mkdir(parents=True)
    for stem, ids in (("train", (9, 0, 3)), ("t10k", (1, 2))):
        count = len(ids)
        head = b"\0\0\x08\x03" + struct.pack(">3I", count, 28, 28)
        body = np.repeat(np.asarray(ids, np.uint8), 784).tobytes()
        file = folder / f"{stem}-images-idx3-ubyte.gz"
        file.write_bytes(gzip.compress(head + body))
        head = b"\0\0\x08\x01" + struct.pack(">I", count)
        file = folder / f"{stem}-labels-idx1-ubyte.gz"
        file.write_bytes(gzip.compress(head + bytes(ids)))
    found = read_fashion(tmp_path)
    pixels = found.inputs["image"]
    assert (pixels.shape, pixels.dtype) == ((5, 28, 28, 1), np.uint8)
    assert found.classes == CLOTHES
    np.testing.assert_array_equal(found.labels, [9, 0, 3, 1, 2])
    np.testing.assert_array_equal(pixels[:, 5, 5, 0], found.labels)
    np.testing.assert_array_equal(found.splits["train"], [0, 1, 2])
    np.testing.assert_array_equal(found.splits["test"], [3, 4])


def test_mnist_is_in_bytes_again(tmp_path):
    folder = tmp_path / "package" / "src" / "digits"
    folder.mkdir(parents=True)
    levels = np.arange(784) % 256
    for digit in range(10):
        count = 1 + digit % 2
        # Shares with four digits, as the package rounds them.
        data = np.round(levels / 255, 4).tolist() * count
        (folder / f"{digit}.json").write_text(json.dumps({"data": data}))
    found = read_mnist(tmp_path)
    assert found.inputs["image"].shape == (15, 28, 28, 1)
    np.testing.assert_array_equal(found.inputs["image"][0].ravel(), levels)
    np.testing.assert_array_equal(np.bincount(found.labels), [1, 2] * 5)
    assert found.classes == tuple("0123456789")


@pytest.fixture
def emoji(tmp_path):
    """Four emoji, in no order; the first vendor lacks one, one is a component."""
    rows = [
        ("1F34E", "RED APPLE", "apple", "Food & Drink", True),
        ("1F600", "GRINNING FACE", "grinning", "Smileys & Emotion", True),
        ("1F3FB", "SKIN TONE", "skin-tone-2", "Component", True),
        ("1F1E6", None, "letter-a", "Flags", True),
        ("1F34F", "GREEN APPLE", "green_apple", "Food & Drink", False),
    ]
    package = tmp_path / "package"
    folder = package / "img" / "google" / "64"
    folder.mkdir(parents=True)
    table = []
    for i, (code, name, short, category, drawn) in enumerate(rows):
        image = f"{code.lower()}.png"
        table.append(
            {
                "unified": code,
                "name": name,
                "short_name": short,
                "category": category,
                "image": image,
                "has_img_google": drawn,
            }
        )
        if drawn:
            Image.new("RGBA", (64, 64), (i, 0, 0, 0)).save(folder / image)
    (package / "emoji.json").write_text(json.dumps(table[::-1]))
    return tmp_path


def test_emoji_that_the_vendor_draws(emoji):
    found = read_emoji(emoji, "google")
    assert found.inputs["name"] == ["letter-a", "RED APPLE", "GRINNING FACE"]
    assert found.classes == ("Flags", "Food & Drink", "Smileys & Emotion")
    np.testing.assert_array_equal(found.labels, [0, 1, 2])
    column = found.inputs["image"]
    assert [file.stem for file in column.files] == ["1f1e6", "1f34e", "1f600"]
    assert (np.asarray(column.at(0)) == 255).all()


def test_a_damaged_emoji_is_named(emoji):
    (emoji / "package/img/google/64/1f34e.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"1 of 3.*1f34e\.png"):
        read_emoji(emoji, "google")
