"""What TLlib and pytorch-adapt compute for self-training, on given logits.

Both are read from PYTHONPATH as they are checked out, or as installed; packages are
opened without running their `__init__`, which wants much more.
"""

import importlib
import sys
import types
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np


def opened(name: str) -> None:
    """Make `name` a package of the files on the path, whose `__init__` never runs."""
    if name not in sys.modules:
        spec = find_spec(name)
        if spec is None:
            raise ImportError(f"{name} is not on the path")
        made = types.ModuleType(name)
        made.__path__ = list(spec.submodule_search_locations)
        sys.modules[name] = made


def tllib(module: str) -> Any:
    """One module of TLlib."""
    opened("tllib")
    return importlib.import_module(f"tllib.{module}")


def cases() -> dict[str, np.ndarray]:
    """Logits of batches, references and labels, the same at every call."""
    rng = np.random.default_rng(0)
    return {
        "wide": rng.normal(0, 2, (12, 5)).astype(np.float32),
        "few": rng.normal(0, 2, (3, 5)).astype(np.float32),
        "sure": rng.normal(0, 6, (12, 5)).astype(np.float32),
        "index": rng.integers(0, 30, (6, 12)),
        "series": rng.normal(0, 6, (6, 12, 4)).astype(np.float32),
    }


def graded(value: Any, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A torch function's value and gradient, in float64."""
    import torch

    x = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    found = value(x)
    found.backward()
    return found.detach().numpy(), x.grad.numpy()


def of_tllib(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Its losses with their gradients, thresholds of a series, a teacher's weights."""
    import torch

    found = {}
    confusion = tllib("self_training.mcc").MinimumClassConfusionLoss
    pseudo = tllib("self_training.pseudo_label").ConfidenceBasedSelfTrainingLoss
    square = tllib("self_training.pi_model").L2ConsistencyLoss()
    sure = torch.tensor(given["sure"], dtype=torch.float64)
    values = {
        "confusion/wide": (confusion(2.5), "wide"),
        "confusion/few": (confusion(1.0), "few"),
        "pseudo/wide": (lambda x: pseudo(0.9)(x, sure)[0], "wide"),
        "square/wide": (lambda x: square(x.softmax(1), sure.softmax(1)), "wide"),
    }
    for name, (value, logits) in values.items():
        found[name], found[f"{name}/slope"] = graded(value, given[logits])
    for name, warm_up in (("cold", False), ("warm", True)):
        thresholds, labels = _flexmatch(given, warm_up)
        found |= {f"flex/{name}": thresholds, f"flex/{name}/labels": labels}
    ramp = tllib("self_training.pi_model").sigmoid_warm_up
    found["ramp"] = np.asarray([ramp(t, 4) for t in range(7)])
    weight = tllib("reweight.pada").ClassWeightModule(0.5)
    found["partial"] = weight(torch.tensor(given["wide"])).numpy()
    return found


def _flexmatch(given: Mapping[str, np.ndarray], warm_up: bool):
    """Thresholds of all classes before each batch, and what is kept at the end."""
    import torch

    module = tllib("self_training.flexmatch").DynamicThresholdingModule
    kept = module(0.8, warm_up, lambda x: x / (2 - x), 4, 30, "cpu")
    thresholds = []
    for index, logits in zip(given["index"], given["series"], strict=True):
        thresholds.append(kept.get_threshold(torch.arange(4)).numpy())
        sure, labels = torch.tensor(logits).softmax(1).max(1)
        _, first = np.unique(index[::-1], return_index=True)  # the last of equal rows
        rows = torch.tensor(len(index) - 1 - first)
        own = torch.tensor(index)[rows]
        kept.update(own, (sure > 0.8).long()[rows], labels[rows])
    return np.stack(thresholds), kept.net_outputs.numpy()


def of_pytorch_adapt(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Its losses with their gradients."""
    for package in ("pytorch_adapt", "pytorch_adapt.layers"):
        opened(package)

    def layer(module: str, name: str) -> Any:
        return getattr(importlib.import_module(f"pytorch_adapt.layers.{module}"), name)

    nuclear = layer("bnm_loss", "BNMLoss")()
    values = {
        "mcc/wide": (layer("mcc_loss", "MCCLoss")(T=2.5), "wide"),
        "bnm/wide": (nuclear, "wide"),
        "bnm/few": (nuclear, "few"),
        "entropy/wide": (layer("entropy_loss", "EntropyLoss")(), "wide"),
        "diversity/wide": (layer("diversity_loss", "DiversityLoss")(), "wide"),
    }
    found = {}
    for name, (value, logits) in values.items():
        found[name], found[f"{name}/slope"] = graded(value, given[logits])
    return found
