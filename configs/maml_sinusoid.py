"""Few-shot regression of sine waves, where meta-learning began.

python -m experiments.main --config configs/maml_sinusoid.py --workdir runs/sinusoid

The argument is K, the examples of a task: 5, 10 or 20 (`maml_sinusoid.py:5`); 10 if it
is left out. Setting of Finn et al. (2017): y = a sin(x - b), amplitude .1 to 5, phase
0 to pi, two hidden layers of 40, one inner step at .01, 25 tasks a meta-step, Adam at
1e-3, 70,000 meta-steps. Scores are of 600 test tasks after one step, and after each
number of steps in `adaptation.png`; they are medians over tasks, since some diverge,
with mean and count of those beside. "reptile" runs that paper's own setting (Nichol et
al., 2018): tanh, two layers of 64, 30,000 iterations of one task.

Expected, seed 0, median (mean) squared error after 1, 5 and 10 steps; the random start
is above 3:

K = 10      1            5            10
MAML        .20 (.35)    .06 (.17)    .05 (.12)
FOMAML      .28 (.49)    .07 (.16)    .06 (.14)
ANIL        .39 (.71)    .07 (.25)    .05 (1.05)
Meta-SGD    .10 (.21)    tasks overflow from the fifth step on: it learned one
Reptile     .50 (.87)    .16 (.35)    .11 (.29)
pretrained  1.39 (2.30)  1.03 (1.88)  .85 (1.71)
oracle      .010 (.014), told amplitude and phase, without a step

iMAML's own 50 smaller steps end at .17 (.38): after 1 of them .85, after 10 .27. Its
setting was chosen on validation tasks among seventeen short runs of one seed.
K = 5: MAML .37 (.67), .21 (.49), .18 (.41); pretrained 1.43, 1.21, 1.13; oracle .007.
K = 20: MAML .12 (.18), .02 (.08), .01 (.04); oracle .003. Reptile's own setting: .55
after 1 step, .17 after 32, from 3.3 without training. MAML's 70,000 meta-steps took
44 s on two shared cores of an AMD EPYC, iMAML's 7,000 about 100 s on busier ones.
"""

from ml_collections import ConfigDict

from configs import base

INNER = {"rate": 0.01, "steps": 1}
HEAD = (
    {"transform": "freeze", "where": ".*"},
    {"transform": "rate", "where": "head/.*", "value": 1.0},
)


def learner(inner: dict, name: str = "maml", **more: object) -> dict:
    """A strategy from random weights."""
    table = {"learner": name, "inner": INNER | inner} | more
    return {"pretrained": False, "learner": table, "rate": 1e-3}


STRATEGIES = {
    "maml": {"title": "MAML"} | learner({}),
    "fomaml": {"title": "FOMAML", "note": "without second derivatives"}
    | learner({"mode": "first_order"}),
    "anil": {"title": "ANIL", "note": "a task moves the head alone"}
    | learner({"plan": HEAD}),
    "meta_sgd": {"title": "Meta-SGD", "note": "inner rates are learned"}
    | learner({"learned": "elements", "rate": (0.005, 0.1)}),
    # Steps must come near the minimum, so they are small and many: at .01, with five
    # conjugate gradients, validation turned back after 1,000 meta-steps. One conjugate
    # gradient ended lower than five.
    "imaml": {"title": "iMAML", "note": "implicit gradient, pulled to the start by 10"}
    | learner(
        {"mode": "implicit", "rate": 0.002, "steps": 50, "strength": 10.0}
        | {"cg_steps": 1, "clip": 100.0},
        test_steps=50,
    )
    | {"steps": 7_000, "schedule": "cosine"},
    "reptile": {"title": "Reptile", "note": "five inner steps, no derivative of any"}
    | learner({"steps": 5}, "reptile", test_steps=1)
    | {"rate": 0.1, "optimiser": "sgd", "schedule": "linear"},
    "pretrained": {"title": "Pretrained", "note": "on all tasks, then one step"}
    | learner({"steps": 0}, test_steps=1),
    "oracle": {"title": "Oracle", "note": "told amplitude and phase, takes no step"}
    | {"pretrained": False, "learner": {"learner": "oracle"}, "rate": 1e-3}
    | {"plan": ({"transform": "context", "size": 2, "where": "blocks/0"},)},
    "random": {"title": "Random", "note": "fresh weights, then one step"}
    | learner({})
    | {"steps": 0},
}


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: K, 10 by default, or `reptile`."""
    config = base.get_config()
    config.name = "maml_sinusoid"
    config.task = "fewshot_regression"
    config.data.source = "sinusoid"
    config.model.spec = "shape:mlp"
    config.model.widths = (40, 40)
    config.model.std = 0.01  # as the authors' code starts
    config.episodes.shots = 10 if arg in ("", "reptile") else int(arg)
    config.episodes.queries = config.episodes.shots
    config.episodes.curve = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    config.steps = 70_000
    config.batch_size = 25
    config.eval_batch_size = 200
    config.every.call = 500
    config.every.log = 500
    config.every.evaluate = 7_000
    config.optimiser.schedule = "constant"
    config.optimiser.warmup = 0
    config.optimiser.weight_decay = 0.0
    config.optimiser.momentum = 0.0
    config.optimiser.clip = 0.0
    config.select = "last"
    config.reference = "pretrained"
    config.strategies = ConfigDict(STRATEGIES)
    config.run = "random,pretrained,maml,fomaml,anil,meta_sgd,imaml,reptile,oracle"
    if arg == "reptile":
        config.run, config.reference = "random,reptile", "random"
        config.model.widths = (64, 64)
        config.model.activation, config.model.std = "tanh", 0.0
        config.steps, config.batch_size = 30_000, 1
        config.episodes.train_shots, config.episodes.queries = 50, 50
        config.episodes.curve = (0, 1, 2, 4, 8, 16, 32)
        table = learner({"rate": 0.02, "steps": 5}, "reptile", test_steps=32, size=10)
        own = {"rate": 0.1, "optimiser": "sgd", "schedule": "linear"}
        config.strategies.reptile.update(table | own)
        config.strategies.random.learner.inner.rate = 0.02
        config.strategies.random.learner.test_steps = 32
    return config
