"""Random pictures in files, and the classes of a split: what tests of layouts share."""

import numpy as np
from PIL import Image


def picture(file, seed, size=(8, 8), mode="RGB"):
    """A picture of random pixels in a file of any kind."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def classes_of(examples, split):
    """Names of the classes that a split has rows of."""
    return {examples.classes[i] for i in examples.labels[examples.splits[split]]}
