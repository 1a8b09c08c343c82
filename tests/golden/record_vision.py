"""Record what transformers computes for tiny random models of images.

    python tests/golden/record_vision.py

Needs torch and transformers. Writes `vision/<name>/` (config.json, model.safetensors)
and `vision.npz`: image, logits and every hidden state by name, and for models with
batch norms the logits and the moved statistics of one forward pass in training.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
VIT = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=32,
    image_size=8,
    patch_size=4,
    num_labels=3,
)
RESNET = dict(
    embedding_size=8,
    hidden_sizes=[8, 16, 24],
    depths=[1, 2, 1],
    layer_type="basic",
    num_labels=3,
)
DEEP = RESNET | dict(layer_type="bottleneck", hidden_sizes=[16, 32, 48])
MOBILE = dict(
    depth_multiplier=0.1,
    finegrained_output=False,
    expand_ratio=2.0,
    image_size=32,
    num_labels=3,
    classifier_dropout_prob=0.0,
)
MODELS = {
    "vit_model": ("ViTModel", VIT | dict(image_size=[8, 12])),
    "vit_image": ("ViTForImageClassification", VIT),
    "resnet_model": ("ResNetModel", RESNET),
    "resnet_basic": ("ResNetForImageClassification", RESNET),
    "resnet_deep": ("ResNetForImageClassification", DEEP),
    "mobilenet": ("MobileNetV2ForImageClassification", MOBILE),
}
SIZES = {"vit_model": (8, 12), "vit_image": (8, 8), "mobilenet": (33, 32)}


def make(architecture: str, settings: dict, seed: int = 0) -> torch.nn.Module:
    """A model whose every weight, norms and statistics too, is random."""
    kind = getattr(transformers, architecture).config_class
    config = kind(**settings)
    config.architectures = [architecture]
    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            norm = weight.ndim == 1 and name.endswith("weight")
            wide = 0.2 if weight.ndim < 4 else weight[0].numel() ** -0.5
            weight.copy_((1.0 if norm else 0.0) + wide * torch.randn(weight.shape))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * torch.randn(buffer.shape))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape))
            elif name.endswith("num_batches_tracked"):
                buffer.fill_(7)
    return model


def image_for(name: str, seed: int = 0) -> np.ndarray:
    """Two pictures, already normalised. [2 H W 3]."""
    tall, broad = SIZES.get(name, (24, 20))
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, tall, broad, 3)).astype(np.float32)


def last_axis(value: torch.Tensor) -> np.ndarray:
    """Channels last, as ours."""
    array = value.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def forward(model: torch.nn.Module, image: np.ndarray) -> dict[str, np.ndarray]:
    """Hidden states, logits and pooled features of one forward pass."""
    pixels = torch.tensor(np.moveaxis(image, -1, 1).copy())
    with torch.no_grad():
        out = model(pixel_values=pixels, output_hidden_states=True)
    found = {f"hidden/{i}": last_axis(h) for i, h in enumerate(out.hidden_states)}
    if getattr(out, "logits", None) is not None:
        found["logits"] = out.logits.numpy()
    if getattr(out, "pooler_output", None) is not None:
        found["pooler"] = out.pooler_output.numpy().reshape(len(image), -1)
    return found


def reference(model: torch.nn.Module, image: np.ndarray) -> dict[str, np.ndarray]:
    """`forward`, and `train/...` for a model with batch norms, which moves them."""
    found = forward(model, image)
    if any("running_mean" in name for name, _ in model.named_buffers()):
        before = {name: b.clone() for name, b in model.named_buffers()}
        trained = forward(model.train(), image)
        found |= {f"train/{name}": value for name, value in trained.items()}
        for name, buffer in model.named_buffers():
            if "running" in name:
                found[f"train/stats/{name}"] = buffer.numpy().copy()
            buffer.copy_(before[name])
        model.eval()
    return found


def main() -> None:
    recorded = {}
    for seed, (name, (architecture, settings)) in enumerate(MODELS.items()):
        model = make(architecture, settings, seed)
        folder = HERE / "vision" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        image = image_for(name, seed)
        found = {"image": image} | reference(model, image)
        recorded |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez_compressed(HERE / "vision.npz", **recorded)


if __name__ == "__main__":
    main()
