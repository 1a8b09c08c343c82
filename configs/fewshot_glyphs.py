"""Few-shot classification of letters of scripts that were never seen.

python -m experiments.main --config configs/fewshot_glyphs.py:5,1 --workdir runs/glyphs

The argument is ways and shots: 5,1 (the default), 5,5, 20,1 or 20,5. Classes are
letters, examples their drawings by fonts; scripts of training, validation and test are
disjoint. Conv4 with 64 filters at 28 pixels (Vinyals et al., 2016), 600 test episodes
of 15 queries a class, the same for every method; four tasks a meta-step.

Expected, seed 0, rates not tuned, ± half a 95 % interval: 5 ways and 1 shot, random
features .587 ± .008, nearest centroid .928 ± .006, fine-tuning .905 ± .006,
prototypical networks .931 ± .005 (.943 after 1,000 meta-steps), matching .933,
relation .851 ± .008, R2-D2 .929, MetaOptNet .834 ± .008 with the published constants,
MAML .930, ANIL .933, Reptile .556 ± .008: 600 meta-steps on one shot a class are too
few for it; with ten in training (--config.episodes.train_shots=10) it ends at .681.
5 shots, prototypical .977 ± .002; 20 ways and 1 shot, prototypical .890 ± .003. A
method takes two to five minutes, Reptile eight, on two cores of an AMD EPYC shared
with tests (2026-11-26).
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
    maml = {"learner": "maml", "inner": inner, "tasks": "auto", "test_steps": 10}
    tuned = {"learner": "fine_tune", "inner": {"rate": 0.01, "steps": 20}}
    classes = {"train": "classes"}
    return {
        "random": strategy(
            "Random features",
            {"learner": "prototypical", **metric | {"norm": "transductive"}},
            "nearest centroid, no training",
            steps=0,
        ),
        "centroid": strategy(
            "Nearest centroid",
            {"learner": "prototypical", **metric},
            "trained on all classes at once",
            **classes,
        ),
        "fine_tune": strategy(
            "Fine-tuning",
            tuned | {"tasks": "auto"},
            "trained on all classes at once, then on the support set",
            **classes,
        ),
        "prototypical": strategy("Prototypical", {"learner": "prototypical", **metric}),
        "matching": strategy(
            "Matching", {"learner": "matching", "temperature": 0.1, **metric}
        ),
        "relation": strategy(
            "Relation network",
            {"learner": "relation", **metric},
            "its module reads both features",
        ),
        "r2d2": strategy("R2-D2", {"learner": "r2d2", **metric}, "ridge regression"),
        "metaoptnet": strategy(
            "MetaOptNet", {"learner": "metaoptnet", **metric}, "support vectors"
        ),
        "maml": strategy("MAML", maml, "five exact second-order steps", steps=0.5),
        "anil": strategy(
            "ANIL",
            maml | {"inner": inner | {"plan": HEAD}},
            "the head alone moves",
            steps=0.5,
        ),
        "reptile": strategy(
            "Reptile",
            {"learner": "reptile", "tasks": "auto", "test_steps": 50}
            | {"inner": {"optimiser": "adam0", "rate": 1e-3, "steps": 5}},
            rate=1.0,
            optimiser="sgd",
            schedule="linear",
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
    config.episodes.validation = 100
    config.steps = 600
    config.batch_size = 4
    config.eval_batch_size = 8
    config.every.call = 10
    config.every.log = 50
    config.every.evaluate = 150
    config.optimiser.schedule = "cosine"
    config.optimiser.warmup = 0
    config.optimiser.weight_decay = 0.0
    config.optimiser.momentum = 0.0
    config.optimiser.clip = 10.0
    config.select = "best"
    config.reference = "centroid"
    config.strategies = ConfigDict(strategies(ways))
    config.run = ",".join(strategies(ways))
    return config
