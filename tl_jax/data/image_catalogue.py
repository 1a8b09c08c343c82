"""Readers of the catalogue's pictures, from the files of pinned packages."""

import json
from pathlib import Path

import numpy as np

from tl_jax.data.idx import from_idx_folder
from tl_jax.data.pictures import pictures
from tl_jax.data.sources import Examples, from_arrays

CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_fashion(folder: Path) -> Examples:
    """Fashion-MNIST: 28x28 grey pictures of ten kinds (Xiao et al., 2017)."""
    (file,) = folder.rglob("train-images-idx3-ubyte.gz")
    return from_idx_folder(file.parent, CLOTHES)


def read_mnist(folder: Path) -> Examples:
    """10,000 of MNIST's digits, 28x28 grey (LeCun et al., 1998)."""
    pixels, labels = [], []
    for digit in range(10):
        file = folder / "package" / "src" / "digits" / f"{digit}.json"
        values = np.asarray(json.loads(file.read_text())["data"], np.float64)
        grey = np.round(values * 255).astype(np.uint8).reshape(-1, 28, 28, 1)
        pixels.append(grey)
        labels.append(np.full(len(grey), digit, np.int32))
    names = [str(digit) for digit in range(10)]
    return from_arrays({"image": np.concatenate(pixels)}, np.concatenate(labels), names)


def read_emoji(folder: Path, vendor: str) -> Examples:
    """Emoji as one vendor draws them, 64x64, by Unicode's categories.

    One picture an emoji, none of its variants of skin tone; "Component" is left out.
    `name` is Unicode's.
    """
    package = folder / "package"
    rows = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
    rows = [
        row
        for row in rows
        if row[f"has_img_{vendor}"] and row["category"] != "Component"
    ]
    rows.sort(key=lambda row: row["unified"])
    files = [package / "img" / vendor / "64" / row["image"] for row in rows]
    column, _ = pictures(files)
    names = [row["name"] or row["short_name"] for row in rows]
    labels = [row["category"] for row in rows]
    return from_arrays({"image": column, "name": names}, labels)
