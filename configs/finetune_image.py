"""Fine-tune any vision backbone on any folder of pictures; by default on emoji.

python -m experiments.main --config configs/finetune_image.py --workdir runs/emoji

The argument names strategies: `linear_probe`, `partial`, `full`, `from_scratch`,
`last_stage`, `batch_norms` (Frankle et al., 2021), and `co_tuning` (You et al., 2020),
which needs `--config.model.head=keep` and weights with a head. The classic example, a
ResNet with its last stage tuned at 1e-4 and its head at 1e-3:

python -m experiments.main --config configs/finetune_image.py:last_stage \
    --workdir runs/classic --config.data.source=photos/ --config.data.size=224 \
    --config.model.spec=resnet18.pth --config.model.architecture=resnet18

`--config.data.source` also takes a folder of idx files as MNIST and its kin have them:
`train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz`, and the same of `t10k` for
the test split. Models without weights have the names of `tl_jax.pretrained.shapes` and
train from scratch, here at 32 pixels on such a folder:

python -m experiments.main --config configs/finetune_image.py:from_scratch \
    --workdir runs/scratch --config.data.source=mnist/ --config.data.size=32 \
    --config.model.spec=shape:resnet18 --config.model.stem=cifar

Their options are `stem` (ResNet), `patch` (ViT), `filters` (Conv4), `multiplier`
(MobileNetV2) and `channels` of `config.model`, and `size`, `mean` and `std` of
`config.data`.

Expected, with seed 0 and rates that were not tuned, on 385 test emoji: linear probe
.751, partial freezing .771, full fine-tuning .745, from scratch .257; 190 s on two
cores of an AMD EPYC, programs but the last strategy's mostly in the cache.
"""

from ml_collections import ConfigDict

from configs import base
from configs.strategies import (
    BATCH_NORMS,
    CO_TUNING,
    FREEZE,
    FROM_SCRATCH,
    HEAD,
    LINEAR_PROBE,
)


def get_config(arg: str = "") -> ConfigDict:
    """`arg` names the strategies to run, with commas."""
    config = base.get_config()
    config.name = "finetune_image"
    config.seeds = (0,)
    chosen = arg or "linear_probe,partial,full,from_scratch"
    config.reference = "from_scratch"
    config.run = chosen
    config.model.spec = "efficientnet-lite0"
    config.data.source = "emoji/google"
    config.data.size = 64
    config.epochs = 4.0
    config.batch_size = 32
    config.eval_batch_size = 64
    config.select = "last"
    config.allocator = "keep"
    config.augment = (
        {"augment": "random_resized_crop", "scale": (0.6, 1.0)},
        {"augment": "horizontal_flip"},
    )
    config.strategies = ConfigDict(
        {
            "from_scratch": FROM_SCRATCH | {"rate": 3e-3},
            "linear_probe": LINEAR_PROBE,
            "partial": {
                "title": "Partial freezing",
                "note": "the last blocks, the neck and the head",
                "plan": (FREEZE, {"transform": "top", "count": 4}),
                "rate": 1e-3,
            },
            "full": {
                "title": "Full fine-tuning",
                "note": "everything at one rate",
                "rate": 1e-3,
            },
            "batch_norms": BATCH_NORMS | {"rate": 3e-3},
            "co_tuning": CO_TUNING | {"rate": 1e-3},
            "last_stage": {
                "title": "Last stage",
                "note": "of a ResNet: the last stage at a tenth of the head's rate",
                "plan": (
                    FREEZE,
                    {"transform": "top", "count": 2, "value": 0.1},
                    HEAD,
                ),
                "rate": 1e-3,
            },
        }
    )
    return config
