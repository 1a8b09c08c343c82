"""Categories of emoji as one vendor draws them, learned from another's.

python -m experiments.main --config configs/emoji_shift.py --workdir runs/emoji

What the frozen EfficientNet-lite0 sees of pictures of 96 pixels, and a layer of 128
units over it; `tune:SOURCE,TARGET` moves its last blocks, too. One rate for all,
strengths as published; no label of a target chose anything.
"""

from ml_collections import ConfigDict

from configs import base
from configs.shifts import DANN, FEATURES, MCC, SOURCE_ONLY, every_pair, pair_of
from configs.strategies import FREEZE, HEAD

VENDORS = ("google", "twitter")
TOP = {"transform": "rate", "where": r"blocks/(1[3-5])/.*", "value": 0.3}


def get_config(arg: str = "") -> ConfigDict:
    """Both ways; `SOURCE,TARGET` takes one, `tune:SOURCE,TARGET` moves the body too."""
    config = base.get_config()
    config.name = "emoji_shift"
    config.seeds = (0, 1, 2)
    config.reference = "source_only"
    way, _, pair = arg.rpartition(":")
    if way not in ("", "tune"):
        raise ValueError(f"emoji_shift: {way!r}, expected tune:SOURCE,TARGET")
    named = [tuple(f"emoji/{v}" for v in own) for own in every_pair(VENDORS)]
    if pair:
        named = [tuple(f"emoji/{v}" for v in pair_of(pair, VENDORS, config.name))]
    config.data.source, config.shift.target = named[0]
    config.shift.pairs = tuple(named) if len(named) > 1 else ()
    config.model.spec = "efficientnet-lite0"
    config.model.dropout = 0.0
    config.data.size = 96
    config.optimiser.schedule = "constant"
    config.optimiser.warmup = 0.0
    config.select = "last"
    config.allocator = "keep"
    return _tuned(config) if way else _features(config)


def _features(config: ConfigDict) -> ConfigDict:
    """A small network over what the frozen EfficientNet sees."""
    config.shift.features = True
    config.shift.network = (128,)
    config.steps = 400
    config.batch_size = 64
    config.eval_batch_size = 128
    config.every.call = 50
    config.every.log = 100
    config.every.evaluate = 400
    config.strategies = ConfigDict(
        {name: own | {"rate": 1e-3} for name, own in FEATURES.items()}
    )
    config.run = ",".join(FEATURES)
    return config


def _tuned(config: ConfigDict) -> ConfigDict:
    """The last blocks and a new head move."""
    config.steps = 100
    config.batch_size = 16
    config.every.evaluate = 100
    config.every.call = 5
    config.strategies = ConfigDict(
        {
            name: own | {"plan": (FREEZE, TOP, HEAD), "rate": 1e-3}
            for name, own in (
                ("source_only", SOURCE_ONLY),
                ("dann", DANN),
                ("mcc", MCC),
            )
        }
    )
    config.run = "source_only,dann,mcc"
    return config
