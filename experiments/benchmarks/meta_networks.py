"""The rows' two networks in torch: of one task, of a batch of tasks, as modules.

Weights are those of `meta_torch.tensors`; with an axis of tasks in front for the
functions of a batch. `stride` is 2, or 1 before 2x2 max pooling.
"""

from collections.abc import Callable
from typing import Any

from experiments.benchmarks.meta import Down

EPSILON = 1e-5
"""Added to a variance."""


def wave_loss(weights: dict, x: Any, y: Any) -> Any:
    """Mean squared error of the network of sinusoids on one task [N 1]."""
    import torch

    for at in ("blocks/0", "blocks/1"):
        x = torch.addmm(weights[f"{at}/bias"], x, weights[f"{at}/kernel"])
        x = torch.relu(x)
    return (
        (torch.addmm(weights["head/bias"], x, weights["head/kernel"]) - y) ** 2
    ).mean()


def wave_losses(weights: dict, x: Any, y: Any) -> Any:
    """The same of tasks [K N 1] -> [K]."""
    import torch

    for at in ("blocks/0", "blocks/1"):
        bias = weights[f"{at}/bias"][:, None]
        x = torch.relu(torch.baddbmm(bias, x, weights[f"{at}/kernel"]))
    bias = weights["head/bias"][:, None]
    return ((torch.baddbmm(bias, x, weights["head/kernel"]) - y) ** 2).mean((1, 2))


def features(weights: dict, x: Any, down: Down) -> Any:
    """The last map, flattened. [N 1 H W] -> [N D].

    Scale and bias stand outside of `batch_norm`: under `vmap` over them, its second
    derivatives are wrong in torch 2.13, by percents of a meta-gradient.
    """
    import torch
    from torch.nn import functional as F

    for i in range(4):
        at = f"blocks/{i}"
        conv = weights[f"{at}/conv/kernel"], weights[f"{at}/conv/bias"]
        x = F.conv2d(x, *conv, stride=2 if down == "stride" else 1, padding=1)
        x = F.batch_norm(x, None, None, training=True, eps=EPSILON)
        x = x * weights[f"{at}/norm/scale"][:, None, None]
        x = torch.relu(x + weights[f"{at}/norm/bias"][:, None, None])
        x = F.max_pool2d(x, 2) if down == "pool" else x
    return x.flatten(1)


def glyph_loss(down: Down) -> Callable:
    """Cross entropy of the Conv4 on one task."""
    from torch.nn import functional as F

    def loss(weights: dict, x: Any, y: Any) -> Any:
        flat = features(weights, x, down)
        return F.cross_entropy(flat @ weights["head/kernel"] + weights["head/bias"], y)

    return loss


def glyph_losses(down: Down) -> Callable:
    """The same of tasks [K N 1 H W] -> [K]: a group of channels is a task's."""
    import torch
    from torch.nn import functional as F

    def losses(weights: dict, x: Any, y: Any) -> Any:
        tasks, rows = x.shape[:2]
        x = x.transpose(0, 1).flatten(1, 2)
        how = dict(stride=2 if down == "stride" else 1, padding=1, groups=tasks)
        for i in range(4):
            at = f"blocks/{i}"
            kernel = weights[f"{at}/conv/kernel"].flatten(0, 1)
            x = F.conv2d(x, kernel, weights[f"{at}/conv/bias"].flatten(), **how)
            norm = [weights[f"{at}/norm/{n}"].flatten() for n in ("scale", "bias")]
            x = F.batch_norm(x, None, None, *norm, training=True, eps=EPSILON)
            x = torch.relu(x)
            x = F.max_pool2d(x, 2) if down == "pool" else x
        flat = x.reshape(rows, tasks, -1).transpose(0, 1)
        bias = weights["head/bias"][:, None]
        logits = torch.baddbmm(bias, flat, weights["head/kernel"])
        each = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
        return each.view(tasks, rows).mean(1)

    return losses


def wave_module(weights: dict) -> Any:
    """The network of sinusoids as torch's users write it, filled."""
    from torch import nn

    sizes = [weights[f"{at}/kernel"].shape for at in ("blocks/0", "blocks/1", "head")]
    first, second, last = [nn.Linear(*size) for size in sizes]
    return filled(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last), weights)


def glyph_module(weights: dict, down: Down) -> Any:
    """The Conv4 as torch's users write it, filled."""
    from torch import nn

    layers, stride = [], 2 if down == "stride" else 1
    for i in range(4):
        wide, channels, *_ = weights[f"blocks/{i}/conv/kernel"].shape
        layers.append(nn.Conv2d(channels, wide, 3, stride, 1))
        layers.append(nn.BatchNorm2d(wide, EPSILON, track_running_stats=False))
        layers.append(nn.ReLU())
        layers += [nn.MaxPool2d(2)] if down == "pool" else []
    head = nn.Linear(*weights["head/kernel"].shape)
    return filled(nn.Sequential(*layers, nn.Flatten(), head), weights)


def filled(module: Any, weights: dict) -> Any:
    """A module whose parameters come in the order of the weights."""
    for place, weight in zip(module.parameters(), weights.values(), strict=True):
        value = weight.T if weight.ndim == 2 else weight
        if place.shape != value.shape:
            raise ValueError(f"expected {list(place.shape)}, found {list(value.shape)}")
        place.data = value.detach().contiguous().clone()
    return module
