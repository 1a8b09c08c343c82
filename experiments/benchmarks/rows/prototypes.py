"""A prototypical network's step against torch."""

from typing import Any

from experiments.benchmarks import meta, meta_networks, meta_ours, meta_torch, pairs
from experiments.benchmarks.kinds import Ready, Row

FILTERS, WAYS, SHOTS = 64, 20, 5


def with_us(dtype: str) -> Ready:
    """`prototypical` over the library's Conv4."""
    return meta_ours.on_prototypes(FILTERS, WAYS, SHOTS, meta.QUERIES)


def with_torch(compile: bool, dtype: str) -> Ready:
    """The same in torch, autograd and fused Adam."""
    import torch

    weights = meta_torch.tensors(meta.conv4_weights(FILTERS, "pool", None))
    for weight in weights.values():
        weight.requires_grad_()
    run = torch.compile(episode_loss) if compile else episode_loss

    def gradient(weights: dict, batch: dict) -> tuple[Any, dict]:
        value = run(weights, {name: values[0] for name, values in batch.items()})
        found = torch.autograd.grad(value, list(weights.values()))
        return value.detach(), dict(zip(weights, found, strict=True))

    batches = [meta.glyphs(1, WAYS, SHOTS, meta.QUERIES)]
    ready = meta_torch.training(weights, gradient, batches)
    return ready._replace(compiles=compile)


def episode_loss(weights: dict, task: dict) -> Any:
    """Cross entropy of -|z - c|^2 to the mean of each class's support; one episode.

    Support rows lie class by class.
    """
    import torch
    from torch.nn import functional as F

    support = meta_networks.features(weights, task["support_x"], "pool")
    query = meta_networks.features(weights, task["query_x"], "pool")
    means = support.unflatten(0, (WAYS, SHOTS)).mean(1)
    distances = (query**2).sum(1, keepdim=True) + (means**2).sum(1)
    distances = torch.addmm(distances, query, means.T, alpha=-2)
    return F.cross_entropy(-distances, task["query_y"])


ROWS = (
    Row(
        "proto_conv4",
        "Prototypical network of Conv4",
        f"One step of Adam on one episode of {WAYS} ways, {SHOTS} shots, "
        f"{meta.QUERIES} queries a class, images of {meta.SIDE}x{meta.SIDE}x1; "
        f"{FILTERS} filters, 2x2 max pooling, squared Euclidean distances, batch norm "
        "by the statistics of each set.",
        ours=pairs.ours(f"{__name__}:with_us"),
        peers=pairs.peers("torch", f"{__name__}:with_torch"),
        examples=1,
        product=(WAYS * (SHOTS + meta.QUERIES) * 14 * 14, 9 * FILTERS, FILTERS),
    ),
)
