"""Meta-learning in torch: learn2learn, torch.func, and tasks batched by hand.

All start from the same weights and see the same tasks; the losses of the first two
steps are among the facts of a side, and must agree.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import meta
from experiments.benchmarks.kinds import Ready
from experiments.benchmarks.meta import Arrays

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
        found[name] = torch.as_tensor(np.ascontiguousarray(array))
    return found


def _channels(arrays: Arrays) -> int:
    """Of the last map, 0 where there is none."""
    norms = [a for name, a in arrays.items() if name.endswith("norm/scale")]
    return len(norms[-1]) if norms else 0


def training(weights: dict, gradient: Gradient, batches: Sequence[Arrays]) -> Ready:
    """A call takes one step of Adam on each batch of tasks; weights need gradients."""
    import torch

    given = [tensors(batch) for batch in batches]
    optimiser = torch.optim.Adam(list(weights.values()), meta.META_RATE, fused=True)
    facts: dict[str, Any] = {}

    def call() -> None:
        for batch in given:
            value, grads = gradient(weights, batch)
            for name, weight in weights.items():
                weight.grad = grads[name].contiguous()  # fused Adam reads raw memory
            optimiser.step()
            meta.note(facts, [value])

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


def by_hand(losses: Callable, inner: Inner) -> Gradient:
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


def in_threads(gradient: Gradient, threads: int = 2) -> Gradient:
    """Tasks shared by threads, each of which multiplies alone.

    torch lets go of Python's lock in its operations; small ones keep one core each
    busier than two cores share one.
    """
    from concurrent.futures import ThreadPoolExecutor

    import torch

    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def threaded(weights: dict, batch: dict) -> tuple[Any, dict]:
        cut = {name: values.chunk(threads) for name, values in batch.items()}
        parts = [
            {name: values[i] for name, values in cut.items()} for i in range(threads)
        ]
        tasks = sum(len(values) for values in cut["query_x"])
        shares = [len(part["query_x"]) / tasks for part in parts]
        found = list(pool.map(lambda part: gradient(weights, part), parts))
        both = list(zip(shares, found, strict=True))
        value = sum(share * value for share, (value, _) in both)
        return value, {n: sum(share * g[n] for share, (_, g) in both) for n in weights}

    return threaded


def with_learn2learn(loss: Callable, inner: Inner, module: Any) -> Gradient:
    """learn2learn's MAML: clone, adapt, backward, one task after another.

    `loss(outputs, y)`; the weights that `gradient` gets are the module's own.
    """
    from experiments.benchmarks.source import learn2learn

    kind = learn2learn("algorithms.maml").MAML
    learner = kind(module, inner.rate, first_order=inner.first_order)

    def gradient(weights: dict, batch: dict) -> tuple[Any, dict]:
        learner.zero_grad(set_to_none=True)
        tasks, total = len(batch["support_x"]), 0.0
        for k in range(tasks):
            clone = learner.clone()
            for _ in range(inner.steps):
                clone.adapt(loss(clone(batch["support_x"][k]), batch["support_y"][k]))
            value = loss(clone(batch["query_x"][k]), batch["query_y"][k]) / tasks
            value.backward()
            total += value.item()
        return total, {name: weight.grad for name, weight in weights.items()}

    return gradient
