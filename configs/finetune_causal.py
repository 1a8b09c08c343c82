"""Teach a real causal language model to answer short instructions by the answer alone.

python -m experiments.main --config configs/finetune_causal.py --workdir runs/answers

SmolLM2-135M-Instruct (Allal et al., 2025), dequantised from GGUF, and 317 generated
instructions with one right answer each. It is asked in its chat template; the loss is
of the answers' tokens alone, several conversations packed into rows of 160 tokens that
don't see each other. Scored on questions about subjects that were never seen: `exact`,
the share of answers written greedily that are right to the letter, and `perplexity`, of
a right answer's tokens. The argument names strategies:

- `lora`: rank 8 beside all projections of attention (Hu et al., 2021)
- `before`: the model as it is, for comparison: no steps

Other data: `--config.data.source=pairs.jsonl`, columns `text` and `target`; other
models: `--config.model.spec`, a folder, a GGUF file, a hub's id; without a template
`--config.data.chat=False`. `experiments.predict` then answers new questions.

Expected, one run of seed 0 on two shared cores (2026-11-26): before, none of 48 answers
is right to the letter, at perplexity 161, since it answers in sentences; after 30 steps
of LoRA (0.92 M trainable parameters, 1.2 GB, 215 s) 0.58 of 24 (95 %: 0.38 to 0.75),
perplexity 1.7.
"""

from ml_collections import ConfigDict

from configs import base, strategies

LORA = {
    "transform": "lora",
    "rank": 8,
    "where": r"blocks/\d+/attention/(query|key|value|output)",
    "alpha": 16.0,
}


def get_config(arg: str = "") -> ConfigDict:
    """`arg` names the strategies to run, with commas."""
    config = base.get_config()
    config.name = "finetune_causal"
    config.task = "causal"
    config.run = arg or "before,lora"
    config.reference = "before"
    config.strategies = ConfigDict(
        {
            "before": {
                "title": "Before",
                "note": "as it was published",
                "plan": (strategies.FREEZE,),
                "steps": 0,
            },
            "lora": {
                "title": "LoRA",
                "note": "rank 8 beside the attention's projections",
                "plan": (strategies.FREEZE, LORA),
                "rate": 2e-3,
            },
        }
    )
    config.model.spec = "smollm2"
    config.data.source = "instructions"
    config.data.system = "Answer in a word."
    config.data.length = 48
    config.data.target_length = 10
    config.data.pack = 160
    config.data.buckets = (160,)
    config.data.validation = 0.1
    config.data.test_limit = 24
    config.steps = 30
    config.batch_size = 2
    config.eval_batch_size = 24
    config.every.evaluate = 30
    config.every.checkpoint = 30
    config.resamples = 200
    return config
