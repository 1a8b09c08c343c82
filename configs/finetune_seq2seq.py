"""Texts that answer texts, by an encoder-decoder: teacher forcing, then what it writes.

python -m experiments.main --config configs/finetune_seq2seq.py --workdir runs/phrases
"""

from ml_collections import ConfigDict

from configs import base, strategies

START = {"plan": (), "steps": 0.5}
"""All weights, for half of the steps: what the others start from."""
LORA = {"transform": "lora", "rank": 4, "where": ".*/(query|value)", "alpha": 8.0}
PROMPT = {"transform": "prompt", "length": 8, "init": "vocabulary"}
STRATEGIES = {
    "half": {"title": "Half", "note": "all weights, half of the steps, and no more"}
    | {"steps": 0.5, "rate": 3e-3},
    "full": {"title": "Full", "note": "all weights, all steps", "rate": 3e-3},
    "lora": {
        "title": "Half, then LoRA",
        "note": "rank 4 beside all queries and values",
        "phases": {
            "1_start": START | {"rate": 3e-3},
            "2_lora": {"plan": (strategies.FREEZE, LORA), "steps": 0.5, "rate": 1e-2},
        },
    },
    "prompt": {
        "title": "Half, then a prompt",
        "note": "8 learned words in front of the encoder's",
        "phases": {
            "1_start": START | {"rate": 3e-3},
            "2_prompt": {
                "plan": (strategies.FREEZE, PROMPT),
                "steps": 0.5,
                "rate": 3e-2,
            },
        },
    },
}


def get_config(arg: str = "") -> ConfigDict:
    """`arg` names the strategies to run, with commas."""
    config = base.get_config()
    config.name = "finetune_seq2seq"
    config.task = "seq2seq"
    config.seeds = (0, 1, 2)
    config.run = arg or "half,full,lora,prompt"
    config.reference = "half"
    config.strategies = ConfigDict(
        {name: table | {"pretrained": False} for name, table in STRATEGIES.items()}
    )
    config.model.spec = "shape:t5-micro"
    config.model.vocabulary = 128
    config.model.tokenizer = "words"
    config.data.source = "phrases"
    config.data.length = 16
    config.data.target_length = 16
    config.data.buckets = (16,)
    config.data.validation = 0.02
    config.data.test_limit = 400
    config.steps = 100
    config.batch_size = 32
    config.eval_batch_size = 200
    config.every.call = 10
    config.every.evaluate = 50
    config.every.checkpoint = 50
    config.resamples = 200
    return config
