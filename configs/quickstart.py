"""Five ways to reuse MiniLM for BBC news with 20 labels a class.

python -m experiments.main --config configs/quickstart.py --workdir runs/quickstart

Every strategy had four rates tried on validation, with seed 0 alone (`trials`: rate,
accuracy; `experiments.tune` runs them). Expected test accuracy over three seeds: linear
probe .912 +- .016, LoRA .928 +- .017, partial freezing .945 +- .003, full fine-tuning
.942 +- .018, from scratch .526 +- .056; 4.5 minutes on two cores.
"""

from ml_collections import ConfigDict

from configs import base
from configs.strategies import FREEZE, FROM_SCRATCH, HEAD, LINEAR_PROBE, LORA


def get_config(arg: str = "") -> ConfigDict:
    """`all` trains on all labels that are not test, twice over."""
    if arg not in ("", "all"):
        raise ValueError(f"quickstart takes 'all' or no argument, found {arg!r}")
    config = base.get_config()
    config.name = "quickstart"
    config.seeds = (0, 1, 2)
    config.reference = "from_scratch"
    config.run = "linear_probe,lora,partial,full,from_scratch"
    config.data.source = "bbc"
    config.data.length = 40
    config.data.buckets = (40,)
    config.data.test_limit = 400
    config.data.per_class = 0 if arg == "all" else 20
    config.data.validation_per_class = 0 if arg == "all" else 20
    config.steps = 0 if arg == "all" else 40
    config.epochs = 2.0
    config.batch_size = 16
    config.every.evaluate = 20
    config.select = "last"
    config.model.dropout = 0.0
    config.allocator = "keep"
    body = {"transform": "rate", "where": "blocks/[45]/.*", "value": 0.1}
    config.strategies = ConfigDict(
        {
            "from_scratch": FROM_SCRATCH
            | {
                "rate": 3e-4,
                "trials": ((1e-4, 0.25), (3e-4, 0.47), (1e-3, 0.43), (3e-3, 0.2)),
            },
            "linear_probe": LINEAR_PROBE,
            "partial": {
                "title": "Partial freezing",
                "note": "top two blocks and the head, at two rates",
                "plan": (FREEZE, body, HEAD),
                "rate": 3e-3,
                "trials": ((3e-4, 0.83), (1e-3, 0.89), (3e-3, 0.93), (1e-2, 0.86)),
            },
            "full": {
                "title": "Full fine-tuning",
                "note": "everything, rates decaying by 0.9 a layer",
                "plan": ({"transform": "layerwise", "decay": 0.9},),
                "rate": 2e-4,
                "trials": ((2e-5, 0.68), (6e-5, 0.89), (2e-4, 0.91), (6e-4, 0.89)),
            },
            "lora": LORA
            | {
                "rate": 5e-3,
                "trials": ((5e-4, 0.73), (1.5e-3, 0.9), (5e-3, 0.91), (1.5e-2, 0.9)),
            },
        }
    )
    return config
