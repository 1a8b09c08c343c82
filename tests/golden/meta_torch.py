"""Meta-learning in plain torch, to be compared with: what `record_meta` recorded.

Weights are flat dicts from our paths to tensors in our layouts: dense kernels [in out],
convolutions' [h w in out], images [N H W C]. A task is a dict of `support_x`,
`support_y`, `query_x` and `query_y`; a dict of tasks has one more axis, K, in front.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vmap
from torch.nn import functional as F

Weights = dict[str, Tensor]
Loss = Callable[[Weights, Tensor, Tensor], Tensor]
"""`(weights, x, y)` -> the mean over a task's rows."""


class Inner(NamedTuple):
    """An inner optimiser: `init(weights)`, `step(weights, grads, state)` -> both."""

    init: Callable
    step: Callable


def mlp(weights: Weights, x: Tensor, activation: str) -> Tensor:
    """Two hidden layers. [N I] -> [N O]."""
    for i in range(2):
        x = x @ weights[f"blocks/{i}/kernel"] + weights[f"blocks/{i}/bias"]
        x = getattr(torch, activation)(x)
    return x @ weights["head/kernel"] + weights["head/bias"]


def conv4(weights: Weights, images: Tensor) -> Tensor:
    """3x3 at a stride of 2, norm by the batch's own statistics, ReLU, four times.

    [N H W C] -> logits [N C]; the last map is flattened as it lies, [H W C].
    """
    x = images.permute(0, 3, 1, 2)
    for i in range(4):
        site = f"blocks/{i}"
        kernel = weights[f"{site}/conv/kernel"].permute(3, 2, 0, 1)
        x = F.conv2d(x, kernel, weights[f"{site}/conv/bias"], stride=2, padding=1)
        x = normalised(x) * weights[f"{site}/norm/scale"][:, None, None]
        x = torch.relu(x + weights[f"{site}/norm/bias"][:, None, None])
    flat = x.permute(0, 2, 3, 1).reshape(len(x), -1)
    return flat @ weights["head/kernel"] + weights["head/bias"]


def normalised(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 of each channel over the batch. [N C H W].

    Written out: second derivatives of `F.batch_norm` with a scale and a bias are
    wrong under `vmap` over them in torch 2.13 (2 % of a gradient here, in float64).
    """
    x = x - x.mean((0, 2, 3), keepdim=True)
    return x * torch.rsqrt((x * x).mean((0, 2, 3), keepdim=True) + eps)


def squared(activation: str) -> Loss:
    """Mean squared error of the MLP, without a factor of a half."""

    def loss(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        return ((mlp(weights, x, activation) - y) ** 2).mean()

    return loss


def crossed(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy of the Conv4 in natural logarithms."""
    return F.cross_entropy(conv4(weights, x), y)


def sgd(rate: float | Weights, momentum: float = 0.0) -> Inner:
    """m <- g + momentum m; w <- w - rate m, as `optax.sgd`. Rates may be by leaf."""

    def init(weights: Weights) -> Weights:
        return {name: torch.zeros_like(w) for name, w in weights.items()}

    def step(weights: Weights, grads: Weights, state: Weights):
        state = {n: g + momentum * state[n] for n, g in grads.items()}
        rates = rate if isinstance(rate, dict) else dict.fromkeys(state, rate)
        return {n: w - rates[n] * state[n] for n, w in weights.items()}, state

    return Inner(init, step)


def adam(rate: float, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0) -> Inner:
    """As `optax.adam`: both moments corrected; rate m / (sqrt(v + eps_root) + eps)."""

    def init(weights: Weights):
        zero = {name: torch.zeros_like(w) for name, w in weights.items()}
        return 0, zero, zero

    def step(weights: Weights, grads: Weights, state):
        count, m, v = state[0] + 1, state[1], state[2]
        m = {n: b1 * m[n] + (1 - b1) * g for n, g in grads.items()}
        v = {n: b2 * v[n] + (1 - b2) * g * g for n, g in grads.items()}
        new = {}
        for n, w in weights.items():
            down = torch.sqrt(v[n] / (1 - b2**count) + eps_root) + eps
            new[n] = w - rate * (m[n] / (1 - b1**count)) / down
        return new, (count, m, v)

    return Inner(init, step)


def adapted(
    loss: Loss,
    weights: Weights,
    task: Weights,
    steps: int,
    inner: Inner,
    moves: Sequence[str] | None = None,
    first_order: bool = False,
) -> Weights:
    """Weights after `steps` on the support; those not in `moves` stay."""
    names = list(weights) if moves is None else moves
    state = inner.init({name: weights[name] for name in names})
    for _ in range(steps):
        own = {name: weights[name] for name in names}

        def on_support(own: Weights, weights: Weights = weights) -> Tensor:
            return loss(weights | own, task["support_x"], task["support_y"])

        grads = grad(on_support)(own)
        if first_order:
            grads = {name: g.detach() for name, g in grads.items()}
        own, state = inner.step(own, grads, state)
        weights = weights | own
    return weights


def maml(loss: Loss, weights: Weights, tasks: Weights, steps: int, inner: Inner, **how):
    """(mean over tasks of the adapted weights' query loss, its gradient)."""

    def value(weights: Weights) -> Tensor:
        def of_one(task: Weights) -> Tensor:
            fast = adapted(loss, weights, task, steps, inner, **how)
            return loss(fast, task["query_x"], task["query_y"])

        return vmap(of_one)(tasks).mean()

    gradient, found = grad_and_value(value)(weights)
    return found, gradient


def meta_sgd(loss: Loss, weights: Weights, rates: Weights, tasks: Weights, steps: int):
    """MAML whose rates, one a weight, are learned: (loss, of weights, of rates)."""

    def value(weights: Weights, rates: Weights) -> Tensor:
        def of_one(task: Weights) -> Tensor:
            fast = adapted(loss, weights, task, steps, sgd(rates))
            return loss(fast, task["query_x"], task["query_y"])

        return vmap(of_one)(tasks).mean()

    grads, found = grad_and_value(value, argnums=(0, 1))(weights, rates)
    return found, *grads


def reptile(
    loss: Loss, weights: Weights, tasks: Weights, steps: int, inner: Inner, rate: float
) -> Weights:
    """w <- w + rate (mean over tasks of the adapted weights - w)."""
    run = partial(adapted, loss, weights, steps=steps, inner=inner)
    fast = vmap(lambda task: run(task=task))(tasks)
    return {n: w + rate * (fast[n].mean(0) - w) for n, w in weights.items()}
