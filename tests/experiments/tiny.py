"""A study of a tiny random BERT in two phases, small enough to kill many times."""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """`arg` is a folder with a `model` and `rows.csv`."""
    config = base.get_config()
    config.name = "tiny"
    config.run = "two_phases"
    config.model.spec = f"{arg}/model"
    config.data.source = f"{arg}/rows.csv"
    config.data.length = 16
    config.data.buckets = (8, 16)
    config.data.per_class = 8
    config.data.validation_per_class = 4
    config.batch_size = 4
    config.every.log = 2
    config.every.evaluate = 3
    config.every.checkpoint = 3
    config.resamples = 20
    head = {"transform": "rate", "where": "head/.*", "value": 1.0}
    config.strategies = ConfigDict(
        {
            "two_phases": {
                "rate": 1e-2,
                "average": 0.9,
                "phases": {
                    "1_head": {
                        "plan": ({"transform": "freeze", "where": ".*"}, head),
                        "steps": 7,
                    },
                    "2_more": {
                        "plan": (
                            {
                                "transform": "rate",
                                "where": "blocks/1/.*",
                                "value": 0.5,
                            },
                            {"transform": "lora", "rank": 2, "where": ".*/query"},
                        ),
                        "steps": 8,
                    },
                },
            },
        }
    )
    return config
