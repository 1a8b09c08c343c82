"""A tiny random ResNet in the real file format, pictures of three kinds, and flags."""

import json
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from experiments import predict
from tl_jax import pretrained
from tl_jax.models.resnet import resnet
from tl_jax.nn import Running

ROOT = Path(__file__).parents[2]
EDGE = 32
SHAPE = {"hidden_sizes": [8, 12, 16], "depths": [1, 1, 2]}
"""Three stages, four blocks: the last stage has two, as in a ResNet-18."""
PIPELINE = {
    "size": {"height": EDGE, "width": EDGE},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
}


def write_model(golden: Path, folder: Path) -> Path:
    """Save a random ResNet of `SHAPE`, its statistics random, too, without a crop."""
    base = pretrained.load(golden / "vision" / "resnet_basic", head="drop")
    config = {**base.source["config"], **SHAPE, "architectures": ["ResNetModel"]}
    model = resnet(
        None, kind="basic", stages=SHAPE["depths"], widths=(8, 12, 16), stem_width=8
    )
    params, stats = model.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    moved = {
        at: Running(
            0.1 * rng.normal(size=node.mean.shape).astype(np.float32),
            0.5 + rng.random(node.var.shape).astype(np.float32),
        )
        for at, node in stats.items()
    }
    source = base.source | {"config": config, "folder": str(folder / "none")}
    made = base._replace(model=model, params=params, stats=moved, source=source)
    pretrained.save(folder, made)
    (folder / "preprocessor_config.json").write_text(json.dumps(PIPELINE))
    return folder


def pixels(kind: int, number: int, size: tuple[int, int]) -> np.ndarray:
    """Noise in one of three colours with a bright left edge, uint8 [H W 3]."""
    rng = np.random.default_rng(100 * kind + number)
    made = rng.integers(0, 140, (*size, 3))
    made[..., kind] += 70
    made[:, : size[1] // 4] += 40
    return made.astype(np.uint8)


def write_pictures(root: Path, count: int = 14, flipped: bool = False) -> Path:
    """`count` pictures of each of the classes a, b and c, of one size."""
    for kind, name in enumerate("abc"):
        (root / name).mkdir(parents=True)
        for i in range(count):
            made = pixels(kind, i, (EDGE, EDGE))
            made = made[:, ::-1] if flipped else made
            Image.fromarray(made).save(root / name / f"{i:02d}.png")
    return root


def flags_of(model: Path, source: Path | str, workdir: Path, *more: str) -> list[str]:
    """`configs/finetune_image.py` with little of everything; `more` comes last."""
    names = next((flag for flag in more if not flag.startswith("--")), "")
    config = f"{ROOT}/configs/finetune_image.py:{names}"
    small = {
        "model.spec": model,
        "data.source": source,
        "data.size": EDGE,
        "batch_size": 8,
        "eval_batch_size": 16,
        "steps": 24,
        "every.log": 2,
        "every.evaluate": 4,
        "resamples": 10,
        "allocator": "system",
    }
    return [
        f"--config={config}",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in small.items()),
        *(flag for flag in more if flag.startswith("--")),
    ]


def answers(workdir: Path, source: Path, output: Path, *more: str) -> list[dict]:
    """What `predict` writes of these pictures, by a study in `workdir`."""
    flags = [f"--workdir={workdir}", f"--input={source}", f"--output={output}"]
    assert predict.main([*flags, *more]) == 0
    return [json.loads(line) for line in output.read_text().splitlines()]
