"""ResNet's and MobileNetV2's files against transformers: recorded, and live."""

import numpy as np
import pytest
from agree import TOLERANCE, agrees, distance, run, same_files, values_of

from tl_jax import pretrained
from tl_jax.nn import Running

PLACES = {
    "resnet_model": {0: 0, 1: 1, 2: 3, 3: 4},
    "resnet_basic": {0: 0, 1: 1, 2: 3, 3: 4},
    "resnet_deep": {0: 0, 1: 1, 2: 3, 3: 4},
}
"""Model -> their number of a hidden state -> ours, which are one a block."""


def moves(found, outputs, stats, expected: dict) -> None:
    """Batch statistics gave these logits and moved by these values."""
    told = {k.removeprefix("train/"): v for k, v in expected.items() if "train/" in k}
    if "logits" in told:
        assert distance(outputs.logits, told["logits"]) <= TOLERANCE
    recipe = pretrained.loading.recipe_of(
        found.source["config"], head=found.source["options"]["head"]
    )
    names = {n.ours: n.theirs for n in recipe.layout.names if "stats/" in n.ours}
    assert len(names) == 2 * len(stats)
    moved = {k.removeprefix("stats/"): v for k, v in told.items() if "stats/" in k}
    plain = {k.removeprefix(f"{recipe.layout.prefix}."): v for k, v in moved.items()}
    for ours, theirs in names.items():
        site, _, field = ours.removeprefix("stats/").rpartition("/")
        assert isinstance(stats[site], Running)
        assert distance(getattr(stats[site], field), plain[theirs]) <= TOLERANCE, site


def same_everywhere(found, image, expected: dict, places: dict) -> None:
    """Outputs, features, and a step of the statistics."""
    outputs, kept = run(found, image)
    agrees(outputs, expected, places)
    if "pooler" in expected:
        assert distance(outputs.features, expected["pooler"]) <= TOLERANCE
    for site, node in kept.items():
        np.testing.assert_array_equal(node.mean, found.stats[site].mean)
    moves(found, *run(found, image, norm="batch"), expected)


@pytest.mark.parametrize("name", PLACES)
def test_recorded(name, golden):
    found, expected = pretrained.load(golden / "vision" / name), values_of(golden, name)
    same_everywhere(found, expected["image"], expected, PLACES[name])
    assert not found.preprocess.fixed


@pytest.mark.parametrize("name", PLACES)
def test_round_trip_is_equal_to_the_byte(name, golden, tmp_path):
    found = pretrained.load(golden / "vision" / name)
    path = pretrained.save(tmp_path / "saved", found)
    same_files(golden / "vision" / name, path)
    again = pretrained.load(path)
    assert again.source["hash"] == found.source["hash"]
    assert again.preprocess == found.preprocess
