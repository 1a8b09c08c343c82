"""Few-shot classification of emoji by categories that were never seen.

python -m experiments.main --config configs/fewshot_image.py:3,5 --workdir runs/emoji

The argument is ways and shots. Google's emoji in nine categories, three of which are
tested, with EfficientNet-lite0 of ImageNet: 600 episodes of 10 queries a class, the
same for every method. All but the first only read frozen features, which are
computed once. Any folder of pictures does by `--config.data.source`.

Expected at 3 ways and 5 shots, seed 0, ± .007: random weights .341, nearest centroid
.653, SimpleShot .664, nearest neighbour .564, linear probe .667, Baseline++ .662, R2-D2
.654.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: ways and shots, with a comma; 3,5 by default."""
    ways, shots = (int(n) for n in (arg or "3,5").split(","))
    config = base.get_config()
    config.name = "fewshot_image"
    config.task = "fewshot"
    config.data.source = "emoji/google"
    config.data.size = 64
    config.data.validation = config.data.test = 0.34
    config.model.spec = "efficientnet-lite0"
    config.episodes.ways, config.episodes.shots = ways, shots
    config.episodes.queries = 10
    config.steps = 200
    config.batch_size = 4
    config.eval_batch_size = 8
    config.every.log = 50
    config.every.evaluate = 100
    config.optimiser.schedule = "constant"
    config.optimiser.warmup = 0
    config.select = "last"
    config.allocator = "keep"
    config.reference = "centroid"
    still = {"frozen": True, "steps": 0}
    config.strategies = ConfigDict(
        {
            "scratch": {
                "title": "Random features",
                "note": "nearest centroid, the same architecture, random weights",
                "pretrained": False,
                "learner": {"learner": "prototypical"},
                "steps": 0,
            },
            "centroid": {
                "title": "Nearest centroid",
                "learner": {"learner": "prototypical", "norm": "running"},
            }
            | still,
            "simpleshot": {
                "title": "SimpleShot",
                "note": "nearest centroid of features of length 1",
                "learner": {"learner": "simpleshot", "prepare": "L2N"},
            }
            | still,
            "neighbours": {
                "title": "Nearest neighbour",
                "learner": {"learner": "neighbours", "k": 1},
            }
            | still,
            "probe": {
                "title": "Linear probe",
                "note": "logistic regression on the support set",
                "learner": {"learner": "linear_probe", "normalise": True},
            }
            | still,
            "baseline_plus_plus": {
                "title": "Baseline++",
                "note": "a cosine head, 100 steps on the support set",
                "learner": {
                    "learner": "baseline",
                    "ways": ways,
                    "kind": "cosine",
                    "inner": {"rate": 1.0, "steps": 100},
                },
            }
            | still,
            "r2d2": {
                "title": "R2-D2",
                "note": "ridge regression, its three numbers meta-learned",
                "frozen": True,
                "learner": {"learner": "r2d2", "norm": "running"},
                "rate": 1e-2,
            },
        }
    )
    config.run = "scratch,centroid,simpleshot,neighbours,probe,baseline_plus_plus,r2d2"
    return config
