"""Runs on eight simulated devices; prints what the tests beside it look at."""

import json
import sys

import jax
import numpy as np
import optax

jax.config.update("jax_num_cpu_devices", 8)

from tl_jax import checkpoint, distribute  # noqa: E402
from tl_jax.algorithms import supervised  # noqa: E402
from tl_jax.losses import cross_entropy  # noqa: E402
from tl_jax.models import bert, resnet  # noqa: E402
from tl_jax.nn import Running  # noqa: E402
from tl_jax.transfer import (  # noqa: E402
    chain,
    freeze,
    full,
    lora,
    new_head,
    rate,
    stack_layers,
)
from tl_jax.tree import flatten, path_of  # noqa: E402
from tl_jax.types import Player  # noqa: E402

STEPS, ROWS = 4, 16
LAYOUTS = ("one", "data", "fsdp", "data=4,model=2")


def laid(axes):
    if axes == "one":
        return distribute.layout(devices=jax.devices()[:1])
    return distribute.layout(axes)


def run(model, plan, inputs, axes, accumulate=1, speed=0.1):
    """(losses, last state) of some steps of SGD."""
    layout = laid(axes)
    players = {"m": Player(model, plan, optax.sgd(speed, momentum=0.9))}
    made = supervised(
        players,
        lambda out, s: cross_entropy(out.logits, s["labels"]),
        accumulate=accumulate,
    )
    state, frozen = distribute.place(layout, made.init(jax.random.key(0), players))

    def step(state, frozen, batch, key):
        state, metrics = made.step(state, frozen, batch, key)
        return layout.constrain(state), metrics

    compiled, losses = jax.jit(step, donate_argnums=0), []
    before = jax.tree.map(lambda leaf: leaf.sharding, state)
    labels = np.arange(ROWS, dtype=np.int32) % 3
    for i in range(STEPS):
        stream = {"inputs": inputs, "labels": labels, "weight": np.ones(ROWS, "f")}
        batch = distribute.place_batch(layout, {"train": stream})
        state, metrics = compiled(state, frozen, batch, jax.random.key(i))
        losses.append(float(metrics["loss"]))
    kept = jax.tree.map(
        lambda leaf, old: leaf.sharding.is_equivalent_to(old, leaf.ndim), state, before
    )
    assert all(jax.tree.leaves(kept)), "a leaf moved"
    return losses, distribute.gather(layout, state.memory["stats"]), state, layout


def texts():
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 64, (ROWS, 8)).astype(np.int32)
    return {"tokens": tokens, "mask": np.ones((ROWS, 8), bool)}


def transformers(found):
    sizes = dict(vocabulary=64, width=16, depth=4, heads=2, hidden=32, positions=8)
    method = chain(
        freeze("embed/.*"), lora(4, ".*/attention/(query|value)"), new_head(3, 16)
    )

    def made(**options):
        model = bert(**sizes, rate=0.0, attention_rate=0.0, head_rate=0.0, **options)
        plan = full(*model.init(jax.random.key(0)))
        return model, method(jax.random.key(1), plan)

    model, plan = made()
    for axes in LAYOUTS:
        found[f"lora {axes}"] = run(model, plan, texts(), axes)[0]
    found["accumulated"] = run(model, plan, texts(), "one", 2)[0]
    found["accumulated data"] = run(model, plan, texts(), "data", 2)[0]
    model, plan = made(remat=True)
    found["stacked fsdp"] = run(model, stack_layers(plan), texts(), "fsdp")[0]


def network(groups):
    """A ResNet of three blocks and pictures for it."""
    rng = np.random.default_rng(1)
    inputs = {"image": rng.normal(size=(ROWS, 16, 16, 3)).astype("f")}
    model = resnet(
        None,
        kind="basic",
        stages=(1, 1, 1),
        widths=(8, 16, 16),
        stem="cifar",
        stem_width=8,
        classes=3,
        norm_groups=groups,
    )
    return model, full(*model.init(jax.random.key(0))), inputs


def networks(found):
    for groups in (1, 8):
        model, plan, inputs = network(groups)
        closed = chain(freeze("blocks/0/.*|embed/.*"), rate("head/.*", 1.0))
        if groups == 1:
            plan = closed(jax.random.key(0), plan)
        first = {p: np.asarray(x) for p, x in flatten(plan.stats).items()}
        for axes in LAYOUTS:
            losses, stats, *_ = run(model, plan, inputs, axes, speed=0.01)
            name = f"norms {groups} {axes}"
            after = {p[2:]: x for p, x in flatten(stats).items()}
            found[name] = losses
            found[f"{name} stats"] = {p: x.tolist() for p, x in after.items()}
            found[f"{name} moved"] = sorted(
                {
                    p.split("/")[1]
                    for p in after
                    if p.startswith("blocks") and not np.array_equal(after[p], first[p])
                }
            )


def restored(found, folder):
    """Checkpoints written under one layout, read under others."""
    model = bert(vocabulary=64, width=16, depth=1, heads=2, hidden=32, positions=8)
    plan = new_head(3, 16)(jax.random.key(1), full(*model.init(jax.random.key(0))))
    *_, state, layout = run(model, plan, texts(), "fsdp")
    parts = [
        x
        for k, x in jax.tree_util.tree_leaves_with_path(state.train)
        if path_of(k).endswith("up/kernel")
    ]
    found["parts"] = parts[0].addressable_shards[0].data.shape
    read_back(found, "bert", state, layout, folder)
    *_, state, layout = run(*network(1), "fsdp", speed=0.01)
    running = [isinstance(x, Running) for x in state.memory["stats"]["m"].values()]
    assert len(running) == 9
    assert all(running)
    read_back(found, "resnet", state, layout, folder)


def read_back(found, name, state, layout, folder):
    whole = distribute.gather(layout, state)
    with checkpoint.open(f"{folder}/{name}") as saved:
        saved.save(1, state, {})
        for axes in LAYOUTS:
            other = laid(axes)
            target = distribute.place(other, jax.tree.map(np.zeros_like, whole))
            tree = saved.restore(target).tree
            same = jax.tree.map(np.array_equal, distribute.gather(other, tree), whole)
            kept = jax.tree.map(lambda a, b: a.sharding == b.sharding, tree, target)
            found[f"restored {name} {axes}"] = all(jax.tree.leaves((same, kept)))


def placed(found):
    layout = laid("fsdp")
    tree = {"key": jax.random.key(3), "head": {"kernel": np.ones((8, 8), "f")}}
    there = distribute.place(layout, tree)
    found["keys"] = bool(
        jax.random.key_data(there["key"]).tolist()
        == jax.random.key_data(tree["key"]).tolist()
    )
    found["share"] = distribute.share(layout)
    try:
        distribute.place_batch(layout, {"x": np.ones((12, 2))})
    except ValueError as error:
        found["error"] = str(error)


if __name__ == "__main__":
    results = {}
    transformers(results)
    networks(results)
    restored(results, sys.argv[1])
    placed(results)
    print(json.dumps(results))
