"""What rows of adaptation share: two domains, networks, and steps of either side."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.benchmarks import in_torch, ours
from experiments.benchmarks.kinds import Ready, Side

BATCH, WIDTH, CLASSES = 32, 256, 31
"""Of one domain's batch: rows, features behind a bottleneck, classes of Office-31."""
RATE = 1e-3
"""Of AdamW."""
NEEDS = ("torch", "tllib", "prettytable")


def mine(build: str, **options: Any) -> Side:
    """The library's side: many small operations, for which memory isn't kept."""
    options = {"dtype": "float32", **options}
    return Side("tl_jax, float32", build, options, "jax", allocator="system")


def domains(*shape: int, classes: int) -> dict[str, np.ndarray]:
    """Rows of both domains, the target's shifted; logits of both; source's labels."""
    rng, rows = np.random.default_rng(0), shape[0]
    return {
        "source": rng.normal(size=shape).astype("f"),
        "target": (0.3 + 1.2 * rng.normal(size=shape)).astype("f"),
        "source_logits": rng.normal(size=(rows, classes)).astype("f"),
        "target_logits": rng.normal(size=(rows, classes)).astype("f"),
        "labels": rng.integers(0, classes, rows).astype("i4"),
    }


def loss_with_us(loss: Callable[..., Any], *given: np.ndarray) -> Ready:
    """The loss and its gradients of all that is given; `loss(*given) -> []`."""
    import jax

    given = jax.device_put(given)
    function = jax.value_and_grad(loss, tuple(range(len(given))))
    program, seconds = ours.compiled(function, given)
    facts: dict[str, Any] = {}

    def call() -> None:
        value, _ = jax.block_until_ready(program(*given))
        facts.setdefault("loss", float(value))

    return Ready(call, ours.flops_of(program), seconds, facts=lambda: facts)


def loss_with_torch(
    loss: Callable[..., Any], *given: np.ndarray, compile: bool, less: float = 0.0
) -> Ready:
    """The same in torch; `less` is a constant that a peer adds, taken off the fact."""
    import torch

    own = [torch.as_tensor(x).requires_grad_() for x in given]
    run = in_torch.program(loss, *own) if compile else loss
    facts: dict[str, Any] = {}

    def call() -> None:
        value = run(*own)
        torch.autograd.grad(value, own, allow_unused=True)  # CDAN detaches logits
        facts.setdefault("loss", value.item() - less)

    return Ready(call, compiles=compile, facts=lambda: facts)


def step_with_us(
    models: Mapping[str, tuple[Any, dict]],
    terms: Mapping[str, Any],
    field: str,
    data: Mapping[str, np.ndarray],
    steps: int = 1,
) -> Ready:
    """Steps of AdamW of cross entropy plus terms; player -> (model, flat weights).

    A call takes so many `steps` in one program, as the train loop does.
    """
    import jax

    from tl_jax import optim
    from tl_jax.algorithms.adaptation import adapted
    from tl_jax.losses import cross_entropy
    from tl_jax.transfer import full
    from tl_jax.tree import unflatten
    from tl_jax.types import Player

    players = {}
    for name, (model, weights) in models.items():
        _, stats = model.init(jax.random.key(0))
        plan = full(unflatten(jax.device_put(weights)), stats)
        players[name] = Player(model, plan, optim.adamw(RATE))

    def loss(outputs: Any, stream: Any) -> Any:
        return cross_entropy(outputs.logits, stream["labels"])

    made = adapted(players, loss, terms, steps=1000)
    key = jax.random.key(0)
    state, frozen = made.init(key, players)
    batches = jax.tree.map(lambda x: np.stack([x] * steps), streams(field, data))
    batches = jax.device_put(batches)

    def chunk(state: Any, frozen: Any, batches: Any, key: Any) -> Any:
        def step(state: Any, batch: Any) -> Any:
            own = jax.random.fold_in(key, state.step)
            state, metrics = made.step(state, frozen, batch, own)
            return state, metrics["loss"]

        if steps > 1:
            return jax.lax.scan(step, state, batches)
        return step(state, jax.tree.map(lambda x: x[0], batches))

    program, seconds = ours.compiled(chunk, (state, frozen, batches, key), (0,))
    facts: dict[str, Any] = {}

    def call() -> None:
        nonlocal state
        state, losses = jax.block_until_ready(program(state, frozen, batches, key))
        note(facts, *np.atleast_1d(losses).tolist())

    return Ready(call, ours.flops_of(program), seconds, facts=lambda: facts)


def step_with_torch(
    modules: Any,
    total: Callable[[], Any],
    steps: int = 1,
    *,
    compile: bool,
    less: float = 0.0,
) -> Ready:
    """The same in torch; `total()` is the loss of a forward pass of `modules`."""
    optimiser = in_torch.adamw(modules, RATE)
    run = in_torch.program(total) if compile else total
    facts: dict[str, Any] = {}

    def call() -> None:
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            loss = run()
            loss.backward()
            optimiser.step()
            if len(facts) < 2:  # to read a loss is to wait for it
                note(facts, loss.item() - less)

    return Ready(call, compiles=compile, facts=lambda: facts)


def note(facts: dict[str, Any], *losses: float) -> None:
    """Keep the losses of the first two steps: they must be those of the other side."""
    for loss in losses[: 2 - len(facts)]:
        facts[f"loss of step {len(facts) + 1}"] = loss


def streams(field: str, data: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The batch of one step."""
    source, target = (
        {
            "inputs": {field: data[name]},
            "weight": np.ones(len(data[name]), np.float32),
            "index": np.arange(len(data[name])),
        }
        for name in ("source", "target")
    )
    return {"source": source | {"labels": data["labels"]}, "target": target}
