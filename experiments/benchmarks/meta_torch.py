"""Meta-learning in torch: learn2learn, torch.func, and tasks batched by hand.

All start from the same weights and see the same tasks; the first loss and the first
meta-gradient's norm are among the facts of a side, and must agree.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.kinds import Ready
from experiments.benchmarks.meta import META_RATE, Arrays

Gradient = Callable[[dict, dict], tuple[Any, dict]]
"""(weights, batch of tasks) -> (meta-loss, its gradient by name)."""


class Inner(NamedTuple):
    """What a task does on its support set."""

    rate: float
    steps: int
    first_order: bool = False


def tensors(arrays: Arrays) -> dict:
    """Weights or tasks in torch's layouts: channels first, kernels [out in h w].

    A head behind a map reads it as [C H W] then. Labels become int64.
    """
    import torch

    found = {}
    for name, array in arrays.items():
        if name.endswith("conv/kernel"):
            array = array.transpose(3, 2, 0, 1)
        elif name == "head/kernel" and (channels := _channels(arrays)):
            side = round((len(array) // channels) ** 0.5)
            maps = array.reshape(side, side, channels, -1).transpose(2, 0, 1, 3)
            array = maps.reshape(array.shape)
        elif name.endswith("_x") and array.ndim == 5:
            array = array.transpose(0, 1, 4, 2, 3)
        elif array.dtype.kind == "i":
            array = array.astype(np.int64)
        found[name] = torch.from_numpy(np.ascontiguousarray(array))
    return found


def _channels(arrays: Arrays) -> int:
    """Of the last map, 0 where there is none."""
    norms = [a for name, a in arrays.items() if name.endswith("norm/scale")]
    return len(norms[-1]) if norms else 0


def training(arrays: Arrays, batches: Sequence[Arrays], gradient: Gradient) -> Ready:
    """A call takes one step of Adam on each batch of tasks."""
    import torch

    weights = {n: t.requires_grad_() for n, t in tensors(arrays).items()}
    given = [tensors(batch) for batch in batches]
    optimiser = torch.optim.Adam(list(weights.values()), META_RATE, fused=True)
    facts: dict[str, Any] = {}

    def call() -> None:
        for batch in given:
            value, grads = gradient(weights, batch)
            for name, weight in weights.items():
                weight.grad = grads[name]
            if not facts:
                total = sum((g.double() ** 2).sum().item() for g in grads.values())
                facts["norm of the first meta-gradient"] = total**0.5
                facts["loss of the first step"] = float(value)
            optimiser.step()

    return Ready(call, facts=lambda: facts)


def with_func(loss: Callable, inner: Inner, compile: bool = False) -> Gradient:
    """torch.func: tasks under `vmap`, a gradient of gradients of pure functions.

    `loss(weights, x, y)` is of one task.
    """
    import torch
    from torch.func import grad, grad_and_value, vmap

    def value(weights: dict, batch: dict) -> Any:
        def of_one(task: dict) -> Any:
            own = weights
            for _ in range(inner.steps):
                slopes = grad(loss)(own, task["support_x"], task["support_y"])
                if inner.first_order:
                    slopes = {n: g.detach() for n, g in slopes.items()}
                own = {n: w - inner.rate * slopes[n] for n, w in own.items()}
            return loss(own, task["query_x"], task["query_y"])

        return vmap(of_one)(batch).mean()

    run = grad_and_value(value)
    run = torch.compile(run) if compile else run

    def gradient(weights: dict, batch: dict) -> tuple[Any, dict]:
        free = {name: weight.detach() for name, weight in weights.items()}
        grads, found = run(free, batch)
        return found, grads

    return gradient


def by_hand(losses: Callable, inner: Inner, compile: bool = False) -> Gradient:
    """Weights with an axis of tasks, written out, and torch.autograd.

    `losses(weights [K ...], x [K N ...], y)` gives [K].
    """
    import torch

    def gradient(weights: dict, batch: dict) -> tuple[Any, dict]:
        tasks = len(batch["support_x"])
        own = {n: w.expand(tasks, *w.shape) for n, w in weights.items()}
        for _ in range(inner.steps):
            total = losses(own, batch["support_x"], batch["support_y"]).sum()
            exact = not inner.first_order
            slopes = torch.autograd.grad(total, list(own.values()), create_graph=exact)
            pairs = zip(own.items(), slopes, strict=True)
            own = {n: w - inner.rate * g for (n, w), g in pairs}
        value = losses(own, batch["query_x"], batch["query_y"]).mean()
        grads = torch.autograd.grad(value, list(weights.values()))
        return value.detach(), dict(zip(weights, grads, strict=True))

    return gradient
