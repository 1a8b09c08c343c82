"""Fine-tune any pretrained encoder on any labelled texts, by a strategy of your choice.

python -m experiments.main --config configs/finetune.py:lora --workdir runs/mine \
    --config.data.source=reviews.csv

The argument names strategies (`full` where there is none, `lora,full` compares two):

- `full`: everything at 2e-5, as BERT is usually tuned (Devlin et al., 2019)
- `lora`: low-rank products beside queries and values (Hu et al., 2021)
- `rslora`, `lora_plus`, `dora`, `pissa`, `olora`, `adalora`, `vera`, `loha`, `lokr`:
  its kin, at rates that were not tuned (`tl_jax/transfer/low_rank`)
- `fish`, `eva`, `knn`: the numbers with most Fisher information (Sung et al., 2021),
  LoRA along what layers read (Paischer et al., 2024), votes of the nearest training
  rows (Wu et al., 2018): what data tell is a file that `python -m experiments.measure`
  makes first
- `qlora`: LoRA over a base of 4 bits (Dettmers et al., 2023)
- `ia3`, `sparse`: factors; the largest numbers of kernels (`tl_jax/transfer/scaling`)
- `houlsby`, `pfeiffer`, `parallel`, `compacter`, `adapter_drop`: adapters
  (`tl_jax/transfer/bottleneck`)
- `prompt`, `prefix`, `p_tuning`: learned words, keys and values
  (`tl_jax/transfer/prompts`); all of these at rates that were not tuned
- `linear_probe`: the head alone, in closed form or convex (Alain and Bengio, 2017)
- `partial`: the top two blocks and the head
- `bias`: biases and the head (Ben Zaken et al., 2021)
- `lp_ft`: a linear probe, then everything (Kumar et al., 2022)
- `gradual`: from the head downwards (Howard and Ruder, 2018), at fixed steps
- `plateau`: the same, each time that validation stands still
- `norms`: the norms and the head (Zhao et al., 2023)
- `surgical`: the first block and the head (Lee et al., 2023)
- `ridge`: the head alone, in closed form by leave-one-out
- `l2_sp`: everything, drawn to its start (Li et al., 2018)
- `delta`: everything, its features kept (Li et al., 2019)
- `bss`: everything, with batch spectral shrinkage (Chen et al., 2019)

Also set, as the data asks for: `--config.model.spec` (an asset, a Hugging Face folder,
a hub's id; `configs/base.py` says what else), `--config.task` (classification,
regression, multilabel, tokens, span),
`--config.data.text` and `--config.data.label` (columns), `--config.epochs`,
`--config.strategies.lora.rate`, `--config.model.features` (classifiers of transformers
read the `pooler` of a BERT; where the checkpoint has no classifier's head, the default
here is the masked mean). `experiments.predict` then labels new texts.

Expected: a folder with `study.json`, a report, and for each strategy and seed the
weights, test predictions and scores with intervals.
"""

from ml_collections import ConfigDict

from configs import base, strategies


def get_config(arg: str = "") -> ConfigDict:
    """`arg` names the strategies to run, with commas."""
    config = base.get_config()
    config.name = "finetune"
    config.run = arg or "full"
    config.strategies = ConfigDict(
        {
            "full": strategies.FULL | {"rate": 2e-5},
            "lora": strategies.LORA | {"rate": 5e-4},
            "rslora": strategies.RSLORA | {"rate": 2e-4},
            "lora_plus": strategies.LORA_PLUS | {"rate": 1e-4},
            "dora": strategies.DORA | {"rate": 5e-4},
            "pissa": strategies.PISSA | {"rate": 2e-4},
            "olora": strategies.OLORA | {"rate": 2e-4},
            "adalora": strategies.ADALORA | {"rate": 1e-3},
            "vera": strategies.VERA | {"rate": 5e-3},
            "loha": strategies.LOHA | {"rate": 5e-4},
            "lokr": strategies.LOKR | {"rate": 1e-3},
            "qlora": strategies.QLORA | {"rate": 5e-4},
            "ia3": strategies.IA3 | {"rate": 5e-3},
            "sparse": strategies.SPARSE | {"rate": 2e-4},
            "fish": strategies.FISH | {"rate": 2e-4},
            "knn": strategies.KNN,
            "eva": strategies.EVA | {"rate": 5e-4},
            "houlsby": strategies.HOULSBY | {"rate": 1e-3},
            "pfeiffer": strategies.PFEIFFER | {"rate": 1e-3},
            "parallel": strategies.PARALLEL | {"rate": 1e-3},
            "compacter": strategies.COMPACTER | {"rate": 3e-3},
            "adapter_drop": strategies.ADAPTER_DROP | {"rate": 1e-3},
            "prompt": strategies.PROMPT | {"rate": 1e-2},
            "prefix": strategies.PREFIX | {"rate": 1e-3},
            "p_tuning": strategies.P_TUNING | {"rate": 1e-3},
            "linear_probe": strategies.LINEAR_PROBE | {"rate": 1e-3},
            "partial": strategies.PARTIAL | {"rate": 5e-5},
            "bias": strategies.BIAS | {"rate": 1e-3},
            "lp_ft": strategies.LP_FT | {"rate": 2e-5},
            "gradual": strategies.GRADUAL | {"rate": 2e-5},
            "plateau": strategies.PLATEAU | {"rate": 2e-5},
            "norms": strategies.NORMS | {"rate": 1e-3},
            "surgical": strategies.SURGICAL | {"rate": 5e-5},
            "ridge": strategies.RIDGE_PROBE | {"rate": 1e-3},
            "l2_sp": strategies.L2_SP | {"rate": 2e-5},
            "delta": strategies.DELTA | {"rate": 2e-5},
            "bss": strategies.BSS | {"rate": 2e-5},
        }
    )
    return config
