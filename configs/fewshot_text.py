"""Few-shot classification of texts by topics that were never seen, with MiniLM.

python -m experiments.main --config configs/fewshot_text.py:5,5 --workdir runs/topics

The argument is ways and shots. 20 newsgroups: ten topics train, five choose, five are
tested, 600 episodes of 5 queries a class, texts cut to 32 tokens.
"""

from ml_collections import ConfigDict

from configs import base
from configs.strategies import FREEZE

LORA = {
    "transform": "lora",
    "rank": 4,
    "where": r"blocks/\d+/attention/(query|value)",
    "alpha": 8.0,
}
ADAPTED = (
    FREEZE,
    {"transform": "rate", "where": ".*/patch/lora/(a|b)", "value": 1.0},
    {"transform": "rate", "where": "head/.*", "value": 1.0},
)


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: ways and shots, with a comma; 5,5 by default."""
    ways, shots = (int(n) for n in (arg or "5,5").split(","))
    config = base.get_config()
    config.name = "fewshot_text"
    config.task = "fewshot"
    config.data.source = "newsgroups"
    config.data.length = 32
    config.data.validation = config.data.test = 0.25
    config.model.spec = "minilm"
    config.episodes.ways, config.episodes.shots = ways, shots
    config.episodes.queries = 5
    config.episodes.validation = 100
    config.steps = 100
    config.batch_size = 2
    config.eval_batch_size = 4
    config.every.evaluate = 50
    config.optimiser.schedule = "constant"
    config.optimiser.warmup = 0
    config.select = "last"
    config.allocator = "keep"
    config.reference = "prototypical"
    metric = {"ways": ways, "norm": "running"}
    inner = {"rate": 0.1, "steps": 3, "plan": ADAPTED}
    maml = {"learner": "maml", "inner": inner, "tasks": "map", "test_steps": 5}
    config.strategies = ConfigDict(
        {
            "prototypical": {
                "title": "Nearest centroid",
                "note": "frozen MiniLM",
                "frozen": True,
                "learner": {"learner": "prototypical", **metric},
                "steps": 0,
            },
            "lora_maml": {
                "title": "LoRA-MAML",
                "note": "tasks move LoRA and the head, from a learned start",
                "plan": (
                    FREEZE,
                    LORA,
                    {"transform": "rate", "where": "head/.*", "value": 1.0},
                ),
                "learner": maml,
                "rate": 1e-3,
            },
        }
    )
    config.run = ",".join(config.strategies)
    return config
