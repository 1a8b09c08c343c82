"""Five ways to reuse MiniLM for BBC news with 20 labels a class.

python -m experiments.main --config configs/quickstart.py --workdir runs/quickstart
"""

from ml_collections import ConfigDict

from configs import base
from configs.strategies import FREEZE, FROM_SCRATCH, HEAD, LINEAR_PROBE, LORA


def get_config(arg: str = "") -> ConfigDict:
    """`all` trains on all labels that are not test."""
    config = base.get_config()
    config.name = "quickstart"
    config.seeds = (0, 1, 2)
    config.reference = "from_scratch"
    config.run = "linear_probe,lora,partial,full,from_scratch"
    config.data.source = "bbc"
    config.data.length = 64
    config.data.buckets = (64,)
    config.data.per_class = 0 if arg == "all" else 20
    config.data.validation_per_class = 0 if arg == "all" else 20
    config.data.test_limit = 1000
    config.steps = 60
    config.batch_size = 20
    config.every.evaluate = 30
    config.select = "last"
    body = {"transform": "rate", "where": "blocks/[45]/.*", "value": 0.1}
    config.strategies = ConfigDict(
        {
            "from_scratch": FROM_SCRATCH | {"rate": 1e-3},
            "linear_probe": LINEAR_PROBE,
            "partial": {
                "title": "Partial freezing",
                "note": "top two blocks and the head, at two rates",
                "plan": (FREEZE, body, HEAD),
                "rate": 1e-3,
            },
            "full": {
                "title": "Full fine-tuning",
                "note": "everything, rates decaying by 0.9 a layer",
                "plan": ({"transform": "layerwise", "decay": 0.9},),
                "rate": 2e-4,
            },
            "lora": LORA | {"rate": 5e-3},
        }
    )
    return config
