"""Record what TLlib computes of translations between domains of pictures.

    PYTHONPATH=<a checkout of Transfer-Learning-Library> \
        python tests/golden/record_translation.py

Needs torch and TLlib, without torchvision. Writes `translation.npz`: networks with
their weights, least-squares and semantic losses, its pool of pictures with the draws it
was given, and Fourier transfer before it cuts to whole numbers.
"""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np

HERE = Path(__file__).parent
POOL, ROWS, STEPS = 4, 3, 6
BETAS = (0, 1, 2)


def peer(name: str) -> ModuleType:
    """A module of `tllib.translation`; its packages want torchvision and more.

    Raises ModuleNotFoundError where there is no TLlib.
    """
    if "tllib" not in sys.modules:
        spec = find_spec("tllib")
        if spec is None:
            raise ModuleNotFoundError("tllib: put a checkout of TLlib on PYTHONPATH")
        folder = Path(spec.origin).parent
        for package in ("", ".translation", ".translation.cyclegan"):
            made = ModuleType(f"tllib{package}")
            made.__path__ = [str(folder / package.replace(".", "/").lstrip("/"))]
            sys.modules[made.__name__] = made
    return importlib.import_module(f"tllib.translation.{name}")


def networks(images: np.ndarray) -> dict[str, np.ndarray]:
    """Weights and outputs of a generator and a critic. images in -1..1, [B C H W]."""
    import torch

    torch.manual_seed(0)
    norm = peer("cyclegan.util").get_norm_layer("instance")
    made = peer("cyclegan.generator").ResnetGenerator(1, 1, 3, norm, n_blocks=2)
    judge = peer("cyclegan.discriminator").patch(3, 1, norm="instance", n_layers=2)
    found = {}
    for name, network in (("generator", made), ("critic", judge)):
        whole = network.modules()
        layers = [own for own in whole if getattr(own, "weight", None) is not None]
        for i, layer in enumerate(layers):
            turned = type(layer).__name__.startswith("ConvTranspose")
            kernel = layer.weight.detach().numpy()
            kernel = kernel.transpose((2, 3, 0, 1) if turned else (2, 3, 1, 0))
            kernel = kernel[::-1, ::-1] if turned else kernel
            found[f"{name}/{i}/kernel"] = kernel
            found[f"{name}/{i}/bias"] = layer.bias.detach().numpy()
        output = network(torch.tensor(images)).detach().numpy()
        found[f"{name}/output"] = output.transpose(0, 2, 3, 1)
    return found


def losses(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Least squares of patches, and the semantic loss."""
    import torch

    patches = rng.normal(size=(4, 9)).astype(np.float32)
    logits = rng.normal(size=(4, 3)).astype(np.float32)
    known = rng.integers(0, 3, 4)
    least = peer("cyclegan.loss").LeastSquaresGenerativeAdversarialLoss()
    module = peer("cycada")
    semantic = module.SemanticConsistency()(torch.tensor(logits), torch.tensor(known))
    return {
        "patches": patches,
        "real": least(torch.tensor(patches), True).numpy(),
        "fake": least(torch.tensor(patches), False).numpy(),
        "logits": logits,
        "known": known,
        "semantic": semantic.numpy(),
    }


def pool(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Batches that enter the pool, what comes out, and the draws that decide."""
    import torch

    images = rng.normal(size=(STEPS, ROWS, 1, 2, 2)).astype(np.float32)
    coins = rng.random((STEPS, ROWS)) > 0.5
    places = rng.integers(0, POOL, (STEPS, ROWS))
    module, shown = peer("cyclegan.util"), []
    made = module.ImagePool(POOL)
    for step in range(STEPS):
        first = made.num_imgs  # rows that fill the pool draw nothing
        drawing = range(min(POOL - first, ROWS), ROWS)
        drawn = [0.75 if coins[step, row] else 0.25 for row in drawing]
        taken = [places[step, row] for row in drawing if coins[step, row]]
        with (
            mock.patch.object(module.random, "uniform", side_effect=drawn),
            mock.patch.object(module.random, "randint", side_effect=taken),
        ):
            shown.append(made.query(torch.tensor(images[step])).numpy())
    return {
        "pool/images": images,
        "pool/coins": coins,
        "pool/places": places,
        "pool/shown": np.stack(shown),
        "pool/kept": torch.cat(made.images).numpy(),
    }


def fourier(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Its mutation of amplitudes between its own transforms, of even and odd sizes."""
    module, found = peer("fourier_transform"), {}
    for tall, broad in ((8, 6), (7, 9)):
        source, target = rng.integers(0, 256, (2, 3, tall, broad)).astype(np.float32)
        own, other = np.fft.fft2(source), np.fft.fft2(target)
        name = f"fourier/{tall}x{broad}"
        found[f"{name}/source"], found[f"{name}/target"] = source, target
        for beta in BETAS:
            mixed = module.low_freq_mutate(np.abs(own), np.abs(other), beta=beta)
            made = np.fft.ifft2(mixed * np.exp(1j * np.angle(own)))
            found[f"{name}/{beta}"] = np.real(made).clip(0, 255).astype(np.float32)
    return found


def reference() -> dict[str, np.ndarray]:
    """All that is recorded, by name."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 1, 12, 12)).astype(np.uint8)
    made = networks(images / np.float32(127.5) - 1)
    return {"images": images, **made, **losses(rng), **pool(rng), **fourier(rng)}


if __name__ == "__main__":
    np.savez_compressed(HERE / "translation.npz", **reference())
