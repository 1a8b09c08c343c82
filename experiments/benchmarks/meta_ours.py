"""Our sides of the rows of meta-learning: the library's learners in one program."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.benchmarks import meta, ours
from experiments.benchmarks.kinds import Ready
from experiments.benchmarks.meta import Arrays, Down

PLAYER = "model"


def on_waves(steps: int, tasks: str = "vmap", parts: int = 1) -> Ready:
    """MAML of sinusoids; all batches of a call under one scan."""
    import jax.numpy as jnp

    from tl_jax.models import mlp

    def squared(outputs: Any, stream: Any) -> Any:
        return jnp.square(outputs.logits - stream["labels"]).sum(-1)

    model = mlp(1, (meta.WIDTH, meta.WIDTH), classes=1)
    learner = inner(model, squared, meta.WAVE_RATE, steps, "unrolled")
    given = [batch_of(each, "features") for each in meta.waves()]
    how = dict(tasks=tasks, parts=parts)
    return training(model, meta.wave_weights(), given, learner, squared, **how)


def on_glyphs(
    filters: int, count: int, down: Down, steps: int, first_order: bool, **how: Any
) -> Ready:
    """MAML of the Conv4, batch norm by each set's own statistics."""
    model = conv4(filters, down, "taps", meta.WAYS)
    mode = "first_order" if first_order else "unrolled"
    learner = inner(model, crossed, meta.GLYPH_RATE, steps, mode)
    weights = meta.conv4_weights(filters, down)
    given = [batch_of(meta.glyphs(count), "image")]
    return training(model, weights, given, learner, crossed, **how)


def on_prototypes(filters: int, ways: int, shots: int, queries: int) -> Ready:
    """A prototypical network's step on one episode."""
    from tl_jax.algorithms.meta import prototypical

    model = conv4(filters, "pool", "auto", None)
    weights = meta.conv4_weights(filters, "pool", None)
    given = [batch_of(meta.glyphs(1, ways, shots, queries), "image")]

    def learner(plan: Any) -> Any:
        return prototypical(model, ways)

    return training(model, weights, given, learner, crossed, tasks="map")


def conv4(filters: int, down: Down, form: str, classes: int | None) -> Any:
    """The library's Conv4 for glyphs."""
    from tl_jax.models import conv4

    how = dict(size=meta.SIDE, channels=1, filters=filters, down=down)
    return conv4(**how, form=form, classes=classes)


def crossed(outputs: Any, stream: Any) -> Any:
    """Cross entropy of an example."""
    from tl_jax.losses import cross_entropy

    return cross_entropy(outputs.logits, stream["labels"])


def inner(model: Any, loss: Any, rate: float, steps: int, mode: str) -> Callable:
    """(plan) -> MAML by plain gradient steps of all leaves."""

    def learner(plan: Any) -> Any:
        import optax

        from tl_jax.algorithms.meta import Inner, inner_rates, maml

        how = Inner(inner_rates(plan), optax.sgd(rate), steps, mode=mode)
        return maml(model, loss, how)

    return learner


def batch_of(tasks: Arrays, field: str) -> dict[str, Any]:
    """Arrays of tasks as an episodic batch, leaves [K N ...]."""
    batch = {}
    for part in ("support", "query"):
        x, y = tasks[f"{part}_x"], tasks[f"{part}_y"]
        rows = x.shape[:2]
        index = np.broadcast_to(np.arange(rows[1], dtype=np.int32), rows)
        weight = np.ones(rows, np.float32)
        rest = {"labels": y, "weight": weight, "index": index}
        batch[part] = {"inputs": {field: x}} | rest
    return batch


def training(
    model: Any,
    weights: Arrays,
    batches: Sequence[dict[str, Any]],
    learner: Callable,
    loss: Callable,
    *,
    tasks: str = "vmap",
    parts: int = 1,
) -> Ready:
    """A call takes one step of Adam on each batch, all of them in one program.

    `learner(plan)` makes the learner. With `parts` above 1 the tasks are shared by
    that many devices of the host, where that is what computes.
    """
    import jax
    import optax

    from tl_jax.algorithms.meta import episodic
    from tl_jax.transfer import full
    from tl_jax.tree import unflatten
    from tl_jax.types import Player

    parts = parts if jax.default_backend() == "cpu" else 1
    _, stats = model.init(jax.random.key(0))
    plan = full(unflatten(jax.device_put(dict(weights))), stats)
    players = {PLAYER: Player(model, plan, optax.adam(meta.META_RATE))}
    made = episodic(players, learner(plan), loss, tasks=tasks, parts=parts)
    key = jax.random.key(0)
    state, frozen = made.init(key, players)
    given = jax.tree.map(lambda *x: np.stack(x), *batches)
    state, frozen, key, given = _placed(state, frozen, key, given, parts)

    def steps(state: Any, frozen: Any, given: Any, key: Any) -> Any:
        def step(state: Any, batch: Any) -> Any:
            own = jax.random.fold_in(key, state.step)
            state, metrics = made.step(state, frozen, batch, own)
            return state, metrics["loss"]

        if len(batches) > 1:
            return jax.lax.scan(step, state, given)
        state, loss = step(state, jax.tree.map(lambda x: x[0], given))
        return state, loss[None]

    program, seconds = ours.compiled(steps, (state, frozen, given, key), (0,))
    facts: dict[str, Any] = {}

    def call() -> None:
        nonlocal state
        found = program(state, frozen, given, key)
        state, losses = jax.block_until_ready(found)
        meta.note(facts, losses)

    return Ready(call, ours.flops_of(program), seconds, facts=lambda: facts)


def _placed(state: Any, frozen: Any, key: Any, given: Any, parts: int) -> tuple:
    """Tasks shared by the first `parts` devices, all else whole on each."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    if len(jax.devices()) < parts:
        raise ValueError(f"{parts} parts, but {len(jax.devices())} devices of the host")
    auto = (jax.sharding.AxisType.Auto,)
    devices = jax.devices()[:parts]
    mesh = jax.make_mesh((parts,), ("tasks",), auto, devices=devices)
    whole = NamedSharding(mesh, PartitionSpec())
    shared = NamedSharding(mesh, PartitionSpec(None, "tasks"))
    rest = jax.device_put((state, frozen, key), whole)
    return *rest, jax.device_put(given, shared)
