"""Record what TLlib's AFN, BSP and MixStyle compute on random rows and maps.

    PYTHONPATH=Transfer-Learning-Library python tests/golden/record_feature_norms.py

over a checkout of thuml/Transfer-Learning-Library. Needs torch. Writes
`feature_norms.npz`: source and target [B D]; afn and bsp of both and their slopes with
respect to the source; maps [B H W C], the shares and partners that MixStyle drew, what
it made of them, and the slope of its sum of squares.
"""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
DELTA = 0.7


def bare() -> None:
    """The packages without what their `__init__` imports, which is not used here."""
    root = Path(importlib.util.find_spec("tllib").submodule_search_locations[0])
    for name in ("", ".alignment", ".normalization", ".modules"):
        package = types.ModuleType(f"tllib{name}")
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[f"tllib{name}"] = package
    classifier = types.ModuleType("tllib.modules.classifier")
    classifier.Classifier = torch.nn.Module
    sys.modules["tllib.modules.classifier"] = classifier


def main() -> None:
    bare()
    from tllib.alignment.bsp import BatchSpectralPenalizationLoss
    from tllib.normalization.afn import AdaptiveFeatureNorm
    from tllib.normalization.mixstyle import MixStyle

    torch.manual_seed(0)
    source = torch.randn(6, 5, requires_grad=True)
    target = 1 + torch.randn(8, 5)
    norm = AdaptiveFeatureNorm(DELTA)
    found = {"source": source, "target": target}
    values = {
        "afn": norm(source) + norm(target),
        "bsp": BatchSpectralPenalizationLoss()(source, target),
    }
    for name, value in values.items():
        found[name] = value
        (found[f"{name}_slope"],) = torch.autograd.grad(value, source)
    maps = (2 + torch.randn(6, 3, 4, 2)).requires_grad_()
    layer = MixStyle(p=1.0, alpha=0.1)
    torch.manual_seed(1)
    made = layer(maps)
    torch.manual_seed(1)  # the draws once more, in the layer's order
    found["shares"] = layer.beta.sample((6, 1, 1, 1)).flatten()
    later, first = torch.arange(5, -1, -1).chunk(2)
    later, first = later[torch.randperm(3)], first[torch.randperm(3)]
    found["partners"] = torch.cat([later, first])
    (slope,) = torch.autograd.grad(made.square().sum(), maps)
    for name, array in (("maps", maps), ("made", made), ("made_slope", slope)):
        found[name] = array.permute(0, 2, 3, 1)
    arrays = {name: array.detach().numpy() for name, array in found.items()}
    np.savez_compressed(HERE / "feature_norms.npz", **arrays)


if __name__ == "__main__":
    main()
