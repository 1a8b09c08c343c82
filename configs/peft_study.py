"""Twenty-six ways to tune MiniLM on one task: sentiment of tweets.

python -m experiments.main --config configs/peft_study.py --workdir runs/peft

Three more begin with what the training rows tell:

for what in fisher moments features; do
  python -m experiments.measure --what=$what --config configs/peft_study.py \
      --where='blocks/.*' --rows=200 --workdir runs/measured
done
python -m experiments.main --config configs/peft_study.py:eva,fish,knn \
    --workdir runs/more

VADER's tweets, positive or negative, 100 labels a class for training and 40 for
validation, 300 test tweets cut to 32 tokens; 30 steps of 16 for every method, three
seeds. The report holds accuracy, trainable parameters, milliseconds a step, memory,
what is saved, and the edge of accuracy over parameters (Pareto).

Expected test accuracy, rates not tuned: LoRA 0.911, Full fine-tuning 0.910, DoRA
0.908, LayerNorm tuning 0.901, (IA)3 0.900, QLoRA, NF4 0.889, Partial freezing 0.884,
rsLoRA 0.882, Prefix tuning 0.882, LoRA, BitFit, adapters 0.880, Prompt tuning 0.878,
Compacter 0.871, P-tuning 0.870, BitFit 0.869, PiSSA 0.868, OLoRA 0.868, VeRA 0.868,
Pfeiffer 0.867, LoRA-FA 0.859, AdaLoRA, all its rank 0.857, LoHa 0.856, LoKr 0.840,
Houlsby 0.836, Linear probe 0.830, LoRA+ 0.824, Parallel adapter 0.683. About 25
minutes on two shared cores of an AMD EPYC (2026-11-26). EVA 0.901, FISH mask 0.851,
kNN probe 0.833, all three by the first seed's training rows.
"""

from ml_collections import ConfigDict

from configs import base
from configs.strategies import FREEZE, FULL, HEAD, KNN, LINEAR_PROBE, OPEN, PARTIAL

QV = r"blocks/\d+/attention/(query|value)"
LINEAR = r"blocks/\d+/(attention/(query|key|value|output)|mlp/(up|down))"


def method(title: str, rate: float, *steps: dict, note: str = "") -> dict:
    """A strategy: what is added to a frozen body, and the head, at one rate."""
    return {"title": title, "note": note, "plan": (FREEZE, *steps, HEAD), "rate": rate}


def low_rank(name: str, title: str, rate: float, rank: int = 8, **more) -> dict:
    """A method beside queries and values."""
    own = {"transform": name, "rank": rank, "where": QV} | more
    return method(title, rate, own, note=f"rank {rank}, queries and values")


METHODS = {
    "probe": LINEAR_PROBE,
    "full": FULL | {"plan": (OPEN,), "rate": 2e-4},
    "partial": PARTIAL | {"rate": 1e-3},
    "bitfit": method("BitFit", 3e-3, {"transform": "bitfit"}),
    "norms": method("LayerNorm tuning", 1e-2, {"transform": "layer_norms"}),
    "lora": low_rank("lora", "LoRA", 5e-3, alpha=16.0),
    "rslora": low_rank("rslora", "rsLoRA", 3e-3, alpha=16.0),
    "lora_plus": low_rank("lora_plus", "LoRA+", 1e-3, alpha=16.0),
    "lora_fa": low_rank("lora_fa", "LoRA-FA", 5e-3, alpha=16.0),
    "pissa": low_rank("pissa", "PiSSA", 1e-3, alpha=16.0),
    "olora": low_rank("olora", "OLoRA", 1e-3, alpha=16.0),
    "dora": low_rank("dora", "DoRA", 5e-3, alpha=16.0),
    "adalora": low_rank("adalora", "AdaLoRA, all its rank", 5e-3, 12, alpha=16.0),
    "vera": low_rank("vera", "VeRA", 2e-2, 256),
    "loha": low_rank("loha", "LoHa", 5e-3, alpha=16.0),
    "lokr": low_rank("lokr", "LoKr", 5e-3, alpha=16.0),
    "ia3": method("(IA)3", 2e-2, {"transform": "ia3"}),
    "houlsby": method("Houlsby", 3e-3, {"transform": "houlsby"}),
    "pfeiffer": method("Pfeiffer", 3e-3, {"transform": "pfeiffer"}),
    "parallel": method("Parallel adapter", 3e-3, {"transform": "parallel_adapter"}),
    "compacter": method("Compacter", 5e-3, {"transform": "compacter"}),
    "prompt": method("Prompt tuning", 3e-2, {"transform": "prompt", "length": 8}),
    "p_tuning": method("P-tuning", 3e-3, {"transform": "p_tuning", "length": 8}),
    "prefix": method("Prefix tuning", 2e-2, {"transform": "prefix", "length": 8}),
    "qlora": method(
        "QLoRA, NF4",
        5e-3,
        {"transform": "quantise"},
        {"transform": "lora", "rank": 8, "where": QV, "alpha": 16.0},
        note="LoRA over a base of 4 bits",
    ),
    "together": method(
        "LoRA, BitFit, adapters",
        3e-3,
        {"transform": "bitfit"},
        {"transform": "lora", "rank": 4, "where": QV, "alpha": 8.0},
        {"transform": "pfeiffer"},
        note="three methods in one plan",
    ),
}


FROM = "runs/measured/{}.safetensors"
MEASURED = {
    "knn": KNN,
    "eva": low_rank("eva", "EVA", 5e-3, alpha=16.0, moments=FROM.format("moments")),
    "fish": method(
        "FISH mask",
        1e-3,
        {"transform": "fish_mask", "share": 0.005, "where": "blocks/.*"}
        | {"scores": FROM.format("fisher")},
        note="the 0.5 % of the blocks with most Fisher information",
    ),
}
"""Methods that begin with what data tell, in files of `experiments.measure`."""


def get_config(arg: str = "") -> ConfigDict:
    """All but the measured, or those methods whose names `arg` gives with commas."""
    config = base.get_config()
    config.name = "peft_study"
    config.seeds = (0, 1, 2)
    config.reference = "probe"
    config.run = arg or ",".join(METHODS)
    config.data.source = "vader/tweets"
    config.data.length = 32
    config.data.buckets = (32,)
    config.data.test_limit = 300
    config.data.per_class = 100
    config.data.validation_per_class = 40
    config.steps = 30
    config.batch_size = 16
    config.every.evaluate = 30
    config.select = "last"
    config.model.dropout = 0.0
    config.allocator = "keep"
    config.strategies = ConfigDict(METHODS | MEASURED)
    return config
