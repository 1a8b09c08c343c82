"""Few-shot classification of letters of scripts that were never seen.

python -m experiments.main --config configs/fewshot_glyphs.py:5,1 --workdir runs/glyphs

The argument is ways and shots: 5,1 (the default), 5,5, 20,1 or 20,5. Classes are
letters, examples their drawings by fonts; scripts of training, validation and test are
disjoint. Conv4 with 64 filters at 28 pixels (Vinyals et al., 2016), 600 test episodes.
"""

from ml_collections import ConfigDict

from configs import base

HEAD = (
    {"transform": "freeze", "where": ".*"},
    {"transform": "rate", "where": "head/.*", "value": 1.0},
)


def strategy(title: str, table: dict, note: str = "", **more: object) -> dict:
    """A strategy from random weights."""
    own = {"title": title, "note": note, "pretrained": False, "learner": table}
    return own | {"rate": 1e-3} | more


def strategies(ways: int) -> dict:
    """Every method of the study."""
    inner = {"rate": 0.1, "steps": 5}
    metric = {"ways": ways, "norm": "running"}
    maml = {"learner": "maml", "inner": inner, "tasks": "map", "test_steps": 10}
    return {
        "prototypical": strategy("Prototypical", {"learner": "prototypical", **metric}),
        "matching": strategy("Matching", {"learner": "matching", **metric}),
        "r2d2": strategy("R2-D2", {"learner": "r2d2", **metric}),
        "maml": strategy("MAML", maml, "five exact second-order steps", steps=0.1),
        "anil": strategy(
            "ANIL", maml | {"inner": inner | {"plan": HEAD}}, "the head alone moves"
        ),
        "centroid": strategy(
            "Nearest centroid",
            {"learner": "prototypical", **metric},
            "trained on all classes at once",
            train="classes",
        ),
        "random": strategy(
            "Random features",
            {"learner": "prototypical", **metric | {"norm": "transductive"}},
            "nearest centroid, no training",
            steps=0,
        ),
    }


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: ways and shots, with a comma."""
    ways, shots = (int(n) for n in (arg or "5,1").split(","))
    config = base.get_config()
    config.name = "fewshot_glyphs"
    config.task = "fewshot"
    config.data.source = "glyphs"
    config.data.size = 28
    config.model.spec = "shape:conv4"
    config.model.channels = 1
    config.model.form = "taps"
    config.episodes.ways, config.episodes.shots = ways, shots
    config.episodes.train_queries = 5
    config.episodes.train_ways = ways
    config.steps = 3000
    config.batch_size = 4
    config.eval_batch_size = 8
    config.every.call = 10
    config.every.log = 100
    config.optimiser.schedule = "cosine"
    config.optimiser.warmup = 0
    config.optimiser.weight_decay = 0.0
    config.optimiser.clip = 10.0
    config.select = "best"
    config.reference = "centroid"
    config.strategies = ConfigDict(strategies(ways))
    config.run = ",".join(config.strategies)
    return config
