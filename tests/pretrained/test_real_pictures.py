"""The real EfficientNet-lite0 on pictures of the catalogue, against torch."""

from pathlib import Path

import numpy as np
import pytest
from agree import best, catalogued, distance, run

from tl_jax import data

pytestmark = pytest.mark.parity
COUNT = 6


@pytest.mark.parametrize("name", ["emoji/google", "digits", "fashion-mnist"])
def test_logits_on_pictures_of_the_catalogue(name, lite0):
    import record_state_dicts as record

    pixels = catalogued(name, COUNT, lite0.preprocess)
    assert pixels.shape == (COUNT, 224, 224, 3)
    expected = record.lite0(pixels, Path(lite0.source["folder"]))
    outputs, _ = run(lite0, pixels)
    each = [distance(outputs.logits[i], expected[i]) for i in range(COUNT)]
    assert max(each) <= 1e-4, each
    assert best(outputs.logits) == best(expected)
    assert len({row.tobytes() for row in expected}) == COUNT


def test_emoji_reach_the_model_on_white_as_pillow_makes_them(lite0):
    """The pipeline of its authors, step by step, from the file."""
    from PIL import Image

    pixels = catalogued("emoji/google", COUNT, lite0.preprocess)
    column = data.load("emoji/google").inputs["image"]
    rows = np.linspace(0, column.rows - 1, COUNT).astype(int)
    clear = 0
    for shown, row in zip(pixels, rows, strict=True):
        picture = Image.open(column.files[row]).convert("RGBA")
        clear += np.asarray(picture)[..., 3].min() == 0
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture).convert("RGB")
        picture = picture.resize((256, 256), Image.Resampling.BICUBIC)
        picture = picture.crop((16, 16, 240, 240))
        expected = (np.asarray(picture, np.float32) - 127) / 128
        np.testing.assert_allclose(shown, expected, atol=1e-5)
    assert clear == COUNT  # each of them has something to be seen through
