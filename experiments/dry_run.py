"""What a plan needs on its devices, found without allocating it.

Each phase's step is compiled for the mesh from shapes alone. So a run for 64 devices
is checked on a laptop: `--dry_run --config.mesh.axes=data=8,fsdp=8`.
"""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from rich.console import Console

from experiments.abstract_batches import abstract_batch
from experiments.augmentation import make_augment
from experiments.backbone import options_of, pictured
from experiments.devices import make_layout
from experiments.episode_settings import ways_of
from experiments.flops import products
from experiments.frozen import frozen_base
from experiments.phases import Held, held, idle_rules
from experiments.problem import written_by
from experiments.programs import training
from experiments.settings import check, names
from experiments.shift.features import abstract_network
from experiments.strategies import Phase, make_strategy
from experiments.tasks import Task, make_task
from tl_jax.distribute import Layout, describe_rules
from tl_jax.pretrained.shapes import abstract
from tl_jax.transfer import chain, full, new_head, totals
from tl_jax.types import Plan, Pretrained, Transfer

STEPS = 1000
"""Of a schedule, where the config counts epochs of data that are not read here."""


ROWS = 10_000
"""That a method's memory is made for, if it keeps something of every example."""
COUNTS = {"examples": ROWS, "count": ROWS}


class Needs(NamedTuple):
    """Of one phase, on one device unless said otherwise."""

    trainable: int
    total: int
    placed: str
    """A table of how the state and what is frozen lie."""
    whole: tuple[str, ...]
    arguments: int
    """Bytes."""
    temporaries: int
    peak: int
    flops: float
    """XLA's count, each loop's body once."""
    products: float
    """Of products and convolutions, in all devices, loops counted out."""
    seconds: float
    """To compile."""


def dry_run(config: ConfigDict, console: Console, classes: int = 10) -> list[Needs]:
    """Compile and describe every phase of every strategy. Raises as a run does.

    Data are not read, so the head has any number of `classes`, and methods that keep
    something of every example keep it of `ROWS`.
    """
    check(config)
    layout = make_layout(config)
    config = config.copy_and_resolve_references()
    config.steps = config.steps or STEPS
    base = abstract(config.model.spec, **options_of(config, layout))
    more = written_by(base, config)
    task = make_task(config.task, tuple(map(str, range(classes))), **more)
    augment = make_augment(config, task.outputs(classes), base.preprocess is not None)
    if base.preprocess is not None:
        base = pictured(base, config.data.size)
    found = []
    for name in names(config):
        strategy = make_strategy(name, config)
        own_base = frozen_base(base) if strategy.frozen else base
        if config.shift.features:
            own_base = abstract_network(base, config)
        width = _width(config, task, strategy.phases[0].recipe.head, classes)
        before = [make(classes) for make in strategy.first]
        first = partial(_first, own_base, width, chain(*before))
        known = dict(parts=layout.batch_parts, counts=COUNTS)
        phases = held(config, strategy, task, augment, own_base.model, first, **known)
        for own in phases:
            recipe = own.phase.recipe
            batch = abstract_batch(
                config, own_base, task, classes, recipe, strategy.shift
            )
            needs = _needs(layout, own, batch)
            console.print(report(name, own.phase, layout, needs), markup=False)
            found.append(needs)
        for rule in idle_rules(layout, phases):
            idle = f"{name}: config.mesh.rules: {rule!r} matches nothing\n"
            console.print(idle, markup=False)
    return found


def _first(base: Pretrained, width: int | None, before: Transfer) -> Plan:
    """Zeros in the place of weights, and a head of that width."""
    key, both = jax.random.key(0), (base.params, base.stats)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), both)
    plan = before(key, full(*zeros))
    return plan if width is None else new_head(width, base.model.width)(key, plan)


def _width(config: ConfigDict, task: Task, head: str, classes: int) -> int | None:
    """How wide a recipe's head is, with so many classes of data; None for no head."""
    if head == "none":
        return None
    return task.outputs(ways_of(config) if head == "ways" else classes)


def _needs(layout: Layout, own: Held, batch: dict[str, Any]) -> Needs:
    everything = {"state": own.state, "frozen": own.frozen}
    ruled = layout.ruled(everything)
    placed = layout.abstract(everything)
    rows = layout.rows(1)
    batch = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=rows), batch
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=layout.everywhere)
    program = training(own.algorithm, layout)
    args = placed["state"], placed["frozen"], batch, key
    work = products(program.trace(*args))
    began = time.perf_counter()
    compiled = program.lower(*args)
    seconds = time.perf_counter() - began
    memory = compiled.memory_analysis()
    taken, made = memory.argument_size_in_bytes, memory.output_size_in_bytes
    shared, extra = memory.alias_size_in_bytes, memory.temp_size_in_bytes
    return Needs(
        *totals(own.plan),
        describe_rules(ruled, everything, layout.axes),
        ruled.whole,
        taken,
        extra,
        taken + made - shared + extra,
        (compiled.cost_analysis() or {}).get("flops", float("nan")),
        work,
        seconds,
    )


def report(name: str, phase: Phase, layout: Layout, needs: Needs) -> str:
    """What a user reads of one phase."""
    count = layout.mesh.size
    axes = ", ".join(f"{axis} {size}" for axis, size in layout.axes.items())
    lines = [
        f"{name}, phase {phase.name}: {count} devices ({axes})",
        f"parameters: {needs.total:,}, of which {needs.trainable:,} move",
        needs.placed,
        f"arguments    {needs.arguments / 1e6:12,.1f} MB a device",
        f"temporaries  {needs.temporaries / 1e6:12,.1f} MB a device",
        f"peak         {needs.peak / 1e6:12,.1f} MB a device",
        f"products     {needs.products / count / 1e9:12,.1f} GFLOP a device and step "
        f"(an equal share of {needs.products / 1e12:,.2f} TFLOP)",
        f"XLA's count  {needs.flops / 1e9:12,.1f} GFLOP a device and step (loops' "
        "bodies once)",
        f"compiled in {needs.seconds:.1f} s; nothing was allocated or run",
    ]
    lines += [f"whole: {line}" for line in needs.whole[:6]]
    if len(needs.whole) > 6:
        lines.append(f"whole: and {len(needs.whole) - 6} more")
    return "\n".join(lines) + "\n"
