"""Our sides: a jitted step with its state donated, or features from a jitted model."""

import time
from collections.abc import Callable
from typing import Any

from experiments.benchmarks.kinds import Ready

PLAYER = "model"


def compiled(function: Callable, args: tuple, donate: tuple = ()) -> tuple[Any, float]:
    """The program of a function, and the seconds that tracing and compiling took."""
    import jax

    start = time.perf_counter()
    program = jax.jit(function, donate_argnums=donate).lower(*args).compile()
    return program, time.perf_counter() - start


def flops_of(program: Any) -> float | None:
    """What XLA counts, once for the body of a loop."""
    found = program.cost_analysis()
    found = found[0] if isinstance(found, list) else found
    return None if not found else found.get("flops")


def training(
    model: Any,
    plan: Any,
    tx: Any,
    stream: dict[str, Any],
    loss: Callable | None = None,
) -> Ready:
    """Supervised steps on one batch, as a study runs them; `loss` of classes if None.

    The frozen leaves are an argument beside the state, and only the state is donated.
    """
    import jax

    from tl_jax.algorithms import supervised
    from tl_jax.losses import cross_entropy
    from tl_jax.transfer import totals
    from tl_jax.types import Player

    def of_classes(outputs: Any, stream: Any) -> Any:
        return cross_entropy(outputs.logits, stream["labels"])

    players = {PLAYER: Player(model, plan, tx)}
    algorithm = supervised(players, loss or of_classes)
    key = jax.random.key(0)
    state, frozen = algorithm.init(key, players)
    batch = jax.device_put({"train": stream})

    def step(state: Any, frozen: Any, batch: Any, key: Any) -> Any:
        own = jax.random.fold_in(key, state.step)
        return algorithm.step(state, frozen, batch, own)

    program, seconds = compiled(step, (state, frozen, batch, key), (0,))
    trainable, total = totals(plan)
    facts: dict[str, Any] = {"trainable": trainable, "parameters": total}

    def call() -> None:
        nonlocal state
        state, metrics = jax.block_until_ready(program(state, frozen, batch, key))
        facts.setdefault("loss of the first step", float(metrics["loss"]))

    return Ready(call, flops_of(program), seconds, facts=lambda: facts)


def extraction(model: Any, params: Any, stats: Any, inputs: dict[str, Any]) -> Ready:
    """Features of one batch."""
    import jax

    inputs = jax.device_put(inputs)

    def features(params: Any, stats: Any, inputs: Any) -> Any:
        return model.apply(params, stats, inputs)[0].features

    program, seconds = compiled(features, (params, stats, inputs))
    facts: dict[str, Any] = {}

    def call() -> None:
        found = jax.block_until_ready(program(params, stats, inputs))
        facts.setdefault("norm of the first features", float((found[0] ** 2).sum()))

    return Ready(call, flops_of(program), seconds, facts=lambda: facts)
