"""Categories of emoji as one vendor draws them, learned from another's.

python -m experiments.main --config configs/emoji_shift.py --workdir runs/emoji

What the frozen EfficientNet-lite0 sees of pictures of 96 pixels, and a layer of 128
units over it; `tune:SOURCE,TARGET` moves its last blocks, too. One rate for all,
strengths as published; no label of a target chose anything.
"""

from ml_collections import ConfigDict

from configs.shifts import (
    DANN,
    MCC,
    SOURCE_ONLY,
    every_pair,
    of_arg,
    over_features,
    two_domains,
    with_ways,
)
from configs.strategies import FREEZE, HEAD

VENDORS = ("google", "twitter")
MOVED = {"source_only": SOURCE_ONLY, "dann": DANN, "mcc": MCC}
TOP = {"transform": "rate", "where": r"blocks/(1[3-5])/.*", "value": 0.3}


def get_config(arg: str = "") -> ConfigDict:
    """Both ways; `SOURCE,TARGET` takes one, `tune:SOURCE,TARGET` moves the body too."""
    of = VENDORS, every_pair(VENDORS), "emoji_shift"
    tune, pairs = of_arg(arg, "tune", *of)
    named = tuple(tuple(f"emoji/{vendor}" for vendor in own) for own in pairs)
    config = two_domains("emoji_shift", named)
    config.model.spec = "efficientnet-lite0"
    config.data.size = 96
    config.eval_batch_size = 128
    return _tuned(config) if tune else over_features(config, 128)


def _tuned(config: ConfigDict) -> ConfigDict:
    """The last blocks and a new head move."""
    config.steps = 100
    config.batch_size = 16
    config.eval_batch_size = 64
    config.every.evaluate = 100
    config.every.call = 5
    return with_ways(config, MOVED, {"plan": (FREEZE, TOP, HEAD), "rate": 1e-3})
