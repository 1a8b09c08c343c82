"""Sentiment of sentences from four domains: all twelve pairs, on MiniLM's features.

python -m experiments.main --config configs/sentiment_shift.py --workdir runs/sentiment

VADER's tweets, film reviews, Amazon reviews and New York Times editorials, each
sentence with people's scores; positive or negative where the mean is beyond .5.
MiniLM's features are computed once and kept; what is adapted is a layer of 64 units
over them and the head. The target gives sentences without labels; a fifth of it, which
no method sees, judges. Rates are one for all, and strengths are 1: no label of a target
chose them. Weights of a run are kept where the source's validation is best.

The argument `lora` runs two pairs, tweets to film and film to NYT, with LoRA of rank 8
inside MiniLM in the place of frozen features, the sentences cut to 32 tokens:

python -m experiments.main --config configs/sentiment_shift.py:lora \
    --workdir runs/sentiment_lora

`--config.run=source,coral` names fewer strategies; all are in `STRATEGIES`.
"""

from ml_collections import ConfigDict

from configs import base
from configs.strategies import LORA

DOMAINS = ("vader/tweets", "vader/film", "vader/amazon", "vader/nyt")
LORA_PAIRS = (("vader/tweets", "vader/film"), ("vader/film", "vader/nyt"))
STRATEGIES = {
    "source": {"title": "Source only"},
    "coral": {"title": "Deep CORAL", "adapt": {"coral": {}}},
    "mmd": {"title": "MMD", "adapt": {"mmd": {}}},
    "dann": {"title": "DANN", "adapt": {"dann": {}}},
    "cdan": {"title": "CDAN", "adapt": {"cdan": {}}},
    "pseudo": {"title": "Pseudo-labels", "adapt": {"pseudo_labels": {}}},
    "mcc": {"title": "MCC", "adapt": {"mcc": {}}},
    "weighted": {"title": "Propensity weights", "reweigh": {"propensity": {}}},
    "closed_coral": {
        "title": "CORAL in closed form",
        "align": {"coral": {"shrinkage": 1e-3, "means": True}},
    },
    "ceiling": {
        "title": "Target labels",
        "source": False,
        "target_labelled": -1,
    },
}
RUN = "source,coral,mmd,mcc,closed_coral,ceiling"


def get_config(arg: str = "") -> ConfigDict:
    """All pairs on frozen features; `lora`: two of them with LoRA."""
    config = base.get_config()
    config.name = "sentiment_shift"
    config.seeds = (0, 1, 2)
    config.reference = "source"
    config.data.source, config.shift.target = DOMAINS[:2]
    config.data.length = 32
    config.batch_size = 64
    config.eval_batch_size = 256
    config.allocator = "keep"
    if arg == "lora":
        return _with_lora(config)
    config.strategies = ConfigDict(
        {name: own | {"rate": 1e-3} for name, own in STRATEGIES.items()}
    )
    config.run = RUN
    config.shift.features = True
    config.shift.network = (64,)
    config.shift.pairs = tuple(
        (one, two) for one in DOMAINS for two in DOMAINS if one != two
    )
    config.steps = 300
    return config


def _with_lora(config: ConfigDict) -> ConfigDict:
    """The strategies that need no fixed features, over LoRA."""
    config.name = "sentiment_shift, LoRA"
    more = {"plan": LORA["plan"], "rate": 3e-3}
    config.strategies = ConfigDict(
        {n: own | more for n, own in STRATEGIES.items() if "align" not in own}
    )
    config.run = "source,mmd,mcc,ceiling"
    config.shift.pairs = LORA_PAIRS
    config.batch_size = 16
    config.steps = 60
    config.every.evaluate = 30
    return config
