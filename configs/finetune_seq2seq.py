"""Texts that answer texts, by an encoder-decoder: teacher forcing, then what it writes.

python -m experiments.main --config configs/finetune_seq2seq.py --workdir runs/phrases

There is no real T5 to be had from a package registry, so a tiny one of 173,056
parameters (`shape:t5-micro`) learns from nothing what it can within minutes: phrases of
days and times from English to German, by the rules of `tl_jax/data/phrases.py`. The
argument names strategies: all weights for half of the 100 steps (`half`) or for all
(`full`); or half, and then low-rank products (`lora`, Hu et al., 2021) or a prompt
(`prompt`, Lester et al., 2021) on what that left. What is scored is text that the model
wrote by itself, greedily.

Expected, 400 test phrases whose meaning no training phrase has, mean and deviation over
three seeds; `exact` is the share of phrases right in every word:

          moving in the end   ROUGE-L         BLEU           exact
half      173,056             .838 (.062)     73.8 (10.3)    .156 (.079)
full      173,056             .971 (.010)     96.1 (1.4)     .779 (.063)
lora        6,144             .917 (.058)     88.0 (9.2)     .433 (.274)
prompt        512             .847 (.062)     75.5 (11.8)    .147 (.083)

So here LoRA has more than half of what the rest of full training brings, a prompt in
front of a model this small next to nothing. In one run of 800 steps `full` had every
validation phrase right from step 200 on. Rates were not tuned (2026-11-26).

With T5's weights, on a table with columns `text` and `target` (or those named by
`--config.data.text` and `--config.data.label`):

python -m experiments.main --config configs/finetune_seq2seq.py:tuned,lora_tuned \
    --workdir runs/mine --config.model.spec=google/flan-t5-small \
    --config.model.tokenizer="" --config.model.vocabulary=0 \
    --config.data.source=pairs.csv --config.data.length=512 --config.data.buckets="()" \
    --config.data.target_length=64 --config.writing.beams=4 --config.steps=1000
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

TUNED = {
    "tuned": {"title": "Full fine-tuning", "note": "of given weights", "rate": 1e-4},
    "lora_tuned": {
        "title": "LoRA",
        "note": "of given weights, rank 4 beside all queries and values",
        "plan": (strategies.FREEZE, LORA),
        "rate": 1e-3,
    },
    "prompt_tuned": {
        "title": "Prompt tuning",
        "note": "of given weights, 20 words",
        "plan": (strategies.FREEZE, PROMPT | {"length": 20}),
        "rate": 0.3,
    },
}
"""With pretrained weights; rates are the usual ones, and were not tried here."""


def get_config(arg: str = "") -> ConfigDict:
    """`arg` names the strategies to run, with commas."""
    config = base.get_config()
    config.name = "finetune_seq2seq"
    config.task = "seq2seq"
    config.seeds = (0, 1, 2)
    config.run = arg or "half,full,lora,prompt"
    config.reference = "half"
    fresh = {name: t | {"pretrained": False} for name, t in STRATEGIES.items()}
    config.strategies = ConfigDict(fresh | TUNED)
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
