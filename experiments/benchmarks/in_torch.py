"""The peers' sides in torch: what `ours` does, as a careful user of torch would.

AdamW is the fused one, gradients are set to None, and bfloat16 is autocast.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from experiments.benchmarks.kinds import Ready


def precision(dtype: str) -> Any:
    """The context in which products compute in `dtype`."""
    import torch

    if dtype == "float32":
        return nullcontext()
    kind = torch.get_default_device().type
    return torch.autocast(kind, dtype=getattr(torch, dtype))


def adamw(module: Any, rate: float, weight_decay: float = 0.01) -> Any:
    """Fused AdamW over what moves."""
    import torch

    moving = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(moving, rate, weight_decay=weight_decay, fused=True)


def program(function: Callable[..., Any], *given: Any) -> Callable[..., Any]:
    """`torch.compile` of what was called once without it.

    TLlib fills tables element by element on a first call; traced, it takes minutes.
    """
    import torch

    function(*given)
    return torch.compile(function)


def training(
    module: Any,
    logits: Callable[[], Any],
    labels: Any,
    *,
    rate: float,
    compile: bool = False,
    dtype: str = "float32",
) -> Ready:
    """Steps of AdamW on one batch; `logits()` is the module's forward pass."""
    import torch

    labels = torch.as_tensor(labels, dtype=torch.long)
    optimiser = adamw(module, rate)
    forward = torch.compile(logits) if compile else logits
    facts = counts(module)

    def call() -> None:
        optimiser.zero_grad(set_to_none=True)
        with precision(dtype):
            found = forward()
        loss = torch.nn.functional.cross_entropy(found.float(), labels)
        loss.backward()
        optimiser.step()
        facts.setdefault("loss of the first step", loss.item())

    return Ready(call, compiles=compile, facts=lambda: facts)


def extraction(
    features: Callable[[], Any], *, compile: bool = False, dtype: str = "float32"
) -> Ready:
    """Features of one batch, without gradients."""
    import torch

    forward = torch.compile(features) if compile else features
    facts: dict[str, Any] = {}

    def call() -> None:
        with torch.no_grad(), precision(dtype):
            found = forward()
        norm = (found[0].float() ** 2).sum()
        facts.setdefault("norm of the first features", norm.item())

    return Ready(call, compiles=compile, facts=lambda: facts)


def counts(module: Any) -> dict[str, Any]:
    """How many parameters move, and how many there are."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    moving = sum(size for size, moves in sizes if moves)
    return {"trainable": moving, "parameters": sum(size for size, _ in sizes)}
