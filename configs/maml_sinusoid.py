"""Few-shot regression of sine waves.

python -m experiments.main --config configs/maml_sinusoid.py --workdir runs/sinusoid
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: K, the examples of a task; 10 by default."""
    config = base.get_config()
    config.name = "maml_sinusoid"
    config.task = "fewshot_regression"
    config.data.source = "sinusoid"
    config.model.spec = "shape:mlp"
    config.model.widths = (40, 40)
    config.episodes.shots = int(arg or 10)
    config.episodes.queries = int(arg or 10)
    config.episodes.curve = (0, 1, 2, 3, 5, 10)
    config.steps = 70_000
    config.batch_size = 25
    config.eval_batch_size = 200
    config.every.call = 500
    config.every.log = 500
    config.every.evaluate = 7000
    config.optimiser.schedule = "constant"
    config.optimiser.warmup = 0
    config.optimiser.weight_decay = 0.0
    config.optimiser.clip = 0.0
    config.select = "last"
    inner = {"rate": 0.01, "steps": 1}
    config.strategies = ConfigDict(
        {
            "maml": {
                "title": "MAML",
                "pretrained": False,
                "learner": {"learner": "maml", "inner": inner},
                "rate": 1e-3,
            },
            "fomaml": {
                "title": "FOMAML",
                "note": "without second derivatives",
                "pretrained": False,
                "learner": {
                    "learner": "maml",
                    "inner": inner | {"mode": "first_order"},
                },
                "rate": 1e-3,
            },
        }
    )
    config.run = "maml,fomaml"
    config.reference = "maml"
    return config
