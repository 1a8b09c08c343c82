"""What the rows of images share: a batch, a full or a probing step, features."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np

from experiments.benchmarks import in_torch, ours
from experiments.benchmarks.kinds import Ready

CLASSES, RATE = 10, 1e-3
Work = Literal["full", "probe", "features"]
"""A step on all weights, one on the head of a frozen body, or features alone."""


def images(batch: int, size: int) -> np.ndarray:
    """Random normalised images [B H W 3]."""
    drawn = np.random.default_rng(0).normal(size=(batch, size, size, 3))
    return drawn.astype(np.float32)


def labels(batch: int) -> np.ndarray:
    """Random classes [B]."""
    drawn = np.random.default_rng(1).integers(0, CLASSES, batch)
    return drawn.astype(np.int32)


def our_side(make: Callable[..., Any], work: Work, batch: int, size: int) -> Ready:
    """Our side of any work; `make(classes=None)` gives the model."""
    if work == "features":
        return our_features(make(), batch, size)
    return our_step(make(classes=CLASSES), batch, size, probe=work == "probe")


def their_side(
    body: Any, width: int, work: Work, batch: int, size: int, **how: Any
) -> Ready:
    """The same work of a torch body, which gives features of that width."""
    import torch

    if work == "features":
        return their_features(body, batch, size, **how)
    head = torch.nn.Linear(width, CLASSES)
    return their_step(body, head, batch, size, work == "probe", **how)


def our_step(model: Any, batch: int, size: int, probe: bool) -> Ready:
    """AdamW on everything, or on the head of a frozen body with fixed statistics."""
    import jax

    from tl_jax import optim
    from tl_jax.transfer import chain, freeze, full, rate

    plan = full(*model.init(jax.random.key(0)))
    if probe:
        plan = chain(freeze(".*"), rate("head/.*", 1.0))(jax.random.key(1), plan)
    inputs, weight = {"image": images(batch, size)}, np.ones(batch, np.float32)
    stream = {"inputs": inputs, "labels": labels(batch), "weight": weight}
    return ours.training(model, plan, optim.adamw(RATE), stream)


def our_features(model: Any, batch: int, size: int) -> Ready:
    """Features of a batch."""
    import jax

    params, stats = model.init(jax.random.key(0))
    return ours.extraction(model, params, stats, {"image": images(batch, size)})


def tensor(batch: int, size: int) -> Any:
    """The same images for torch, [B 3 H W] with channels last in memory."""
    import torch

    turned = torch.as_tensor(images(batch, size)).permute(0, 3, 1, 2)
    return turned.contiguous(memory_format=torch.channels_last)


def scaled(body: Any) -> Any:
    """A torch body whose kernels keep the signal's size, as ours do (He et al., 2015).

    torch's own start lets features under running statistics vanish.
    """
    import torch

    torch.manual_seed(0)
    for module in body.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return body.to(memory_format=torch.channels_last)


def their_step(
    body: Any, head: Any, batch: int, size: int, probe: bool, **how: Any
) -> Ready:
    """The same step of a torch body [B ...] -> [B D] and its head."""
    import torch

    module = torch.nn.Sequential(scaled(body), head).train()
    image = tensor(batch, size)
    if probe:
        body.eval().requires_grad_(False)

    def logits() -> Any:
        with torch.no_grad() if probe else nullcontext():
            found = body(image)
        return head(found)

    return in_torch.training(module, logits, labels(batch), rate=RATE, **how)


def their_features(body: Any, batch: int, size: int, **how: Any) -> Ready:
    """The same features of a torch body."""
    body, image = scaled(body).eval(), tensor(batch, size)
    return in_torch.extraction(lambda: body(image), **how)
