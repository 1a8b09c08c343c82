"""Sixteen LoRAs of MiniLM at once: four ranks, four rates, one compiled step.

python -m experiments.main --config configs/lora_sweep.py --workdir runs/lora_sweep

All share one frozen base and read the same batches; ranks are padded to the largest,
rates stand in the optimisers' states. Each is a run of its own in the workdir, with
the weights that it would have had alone; `--config.together=` trains them one by one.
The seconds of a run are its share of the sixteen, those of a step and its memory are
of all. `config.together` is auto, map or vmap (`tl_jax.algorithms.many`).

BBC news, 20 labels a class. Expected test accuracy, one seed: .845 to .855 at rate
0.01, .892 to .925 at 0.03, .897 to .930 at 0.1, .900 to .932 at 0.3. Weights of ranks
1 and 4 were within 5e-6 of those trained alone, predictions the same.
"""

from ml_collections import ConfigDict

from configs import base
from configs.strategies import FREEZE, HEAD

RANKS = (1, 2, 4, 8)
RATES = (0.01, 0.03, 0.1, 0.3)


def get_config(arg: str = "") -> ConfigDict:
    """Takes no argument."""
    if arg:
        raise ValueError(f"lora_sweep takes no argument, found {arg!r}")
    config = base.get_config()
    config.name = "lora_sweep"
    config.together = "auto"
    config.data.source = "bbc"
    config.data.length = 40
    config.data.buckets = (40,)
    config.data.test_limit = 400
    config.data.per_class = 20
    config.data.validation_per_class = 20
    config.steps = 30
    config.batch_size = 16
    config.optimiser.name = "sgd"
    config.every.evaluate = 30
    config.select = "last"
    config.model.dropout = 0.0
    config.allocator = "keep"
    made = {
        f"r{r}_{rate}".replace(".", "_"): (r, rate) for r in RANKS for rate in RATES
    }
    config.strategies = ConfigDict({n: strategy(*pair) for n, pair in made.items()})
    config.run = ",".join(made)
    return config


def strategy(rank: int, rate: float) -> dict:
    """LoRA of one rank and rate beside queries and values, and the head."""
    where = r"blocks/\d+/attention/(query|value)"
    own = {"transform": "lora", "rank": rank, "where": where, "alpha": 2.0 * rank}
    title = f"rank {rank}, rate {rate:g}"
    return {"title": title, "plan": (FREEZE, own, HEAD), "rate": rate}
