"""Few-shot accuracy beside learn2learn's, on the same episodes from the same weights.

    python -m experiments.benchmarks.glyph_accuracy --steps 200 --seeds 0,1

MAML and prototypical networks with a Conv4 on letters of scripts that training never
saw. Both sides take the same meta-steps of Adam on the same episodes, and are judged on
the same test episodes; a small budget, so the figures are not the best that either can
do. Prints a table: accuracy, 95 % interval over episodes, seconds. Needs the extra
`parity` and learn2learn's source (`experiments.benchmarks.source`).
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import meta, meta_networks, meta_ours, meta_torch
from experiments.benchmarks.source import learn2learn

DOWN, FILTERS, TASKS, INNER = "stride", 64, 4, 5
"""Of the Conv4; tasks a meta-step; inner steps."""


class Judged(NamedTuple):
    """One side's outcome."""

    accuracies: np.ndarray
    """[N] of the test episodes."""
    seconds: float
    """Of training, compilation left out."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.glyph_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--steps", type=int, default=200, help="meta-steps")
    made.add_argument("--episodes", type=int, default=600, help="to judge by")
    made.add_argument("--seeds", default="0", help="with commas")
    made.add_argument("--methods", default="maml,prototypical", help="with commas")
    return made


def episodes_of(split: str, queries: int, tasks: int, seed: int, count: int = 0):
    """Episodes of a split of the glyphs, endless or `count` to judge by."""
    from tl_jax import data

    found = data.load("glyphs")
    columns, rows = {"image": found.inputs["image"]}, found.splits[split]
    shape = dict(ways=meta.WAYS, shots=1, queries=queries, tasks=tasks, seed=seed)
    made = data.episodes(columns, found.labels, rows, **shape)
    return data.evaluation_episodes(made, count) if count else made


def arrays(batch: Any) -> meta.Arrays:
    """A batch of episodes as plain arrays, pictures in 0..1."""
    found = {}
    for part in ("support", "query"):
        found[f"{part}_x"] = batch[part]["inputs"]["image"].astype(np.float32) / 255
        found[f"{part}_y"] = batch[part]["labels"]
    return found


def batches(steps: int, seed: int) -> Iterator[meta.Arrays]:
    """What both sides train on."""
    made = episodes_of("train", 5, TASKS, seed)
    return (arrays(made.at(step)) for step in range(steps))


def tested(count: int) -> Iterator[meta.Arrays]:
    """What both sides are judged on, an episode at a time."""
    made = episodes_of("test", meta.QUERIES, 1, 0, count)
    return (arrays(made.at(step)) for step in range(made.steps))


def ours(method: str, weights: meta.Arrays, steps: int, seed: int, count: int):
    """The library's side."""
    import jax
    import optax

    from tl_jax.algorithms.meta import episodic, prototypical
    from tl_jax.transfer import full
    from tl_jax.tree import unflatten
    from tl_jax.types import Player

    ways = meta.WAYS if method == "maml" else None
    model = meta_ours.conv4(FILTERS, DOWN, "taps", ways)
    plan = full(unflatten(jax.device_put(dict(weights))), model.init(seed_key(seed))[1])
    if method == "maml":
        make = meta_ours.inner(
            model, meta_ours.crossed, meta.GLYPH_RATE, INNER, "unrolled"
        )
        learner = make(plan)
    else:
        learner = prototypical(model, meta.WAYS)
    players = {"model": Player(model, plan, optax.adam(meta.META_RATE))}
    made = episodic(players, learner, meta_ours.crossed, tasks="auto")
    state, frozen = made.init(seed_key(seed), players)
    step, spent = jax.jit(made.step, donate_argnums=0), 0.0
    for i, own in enumerate(batches(steps, seed)):
        batch, began = meta_ours.batch_of(own, "image"), time.perf_counter()
        state, _ = jax.block_until_ready(step(state, frozen, batch, seed_key(seed)))
        spent += time.perf_counter() - began if i else 0.0  # the first one compiles
    predict, right = jax.jit(made.predict), []
    for own in tested(count):
        logits = predict(state, frozen, meta_ours.batch_of(own, "image")).logits
        right.append((np.asarray(logits)[0].argmax(-1) == own["query_y"][0]).mean())
    return Judged(np.asarray(right), spent)


def seed_key(seed: int) -> Any:
    import jax

    return jax.random.key(seed)


def theirs(method: str, weights: meta.Arrays, steps: int, seed: int, count: int):
    """learn2learn's side."""
    import torch
    from torch.nn import functional as F

    torch.manual_seed(seed)
    placed = meta_torch.tensors(weights)
    if method == "maml":
        network = meta_networks.glyph_module(placed, DOWN)
        inner = meta_torch.Inner(meta.GLYPH_RATE, INNER)
        of = meta_torch.with_learn2learn(F.cross_entropy, inner, network)
        gradient, guess = (lambda own: of({}, own)), _adapted(network)
    else:
        network = _embedding(placed)
        guess = _prototypes(network)
        gradient = _descended(guess)
    moving = list(network.parameters())
    optimiser, spent = torch.optim.Adam(moving, meta.META_RATE), 0.0
    for i, own in enumerate(batches(steps, seed)):
        given, began = meta_torch.tensors(own), time.perf_counter()
        optimiser.zero_grad()
        gradient(given)
        optimiser.step()
        spent += time.perf_counter() - began if i else 0.0
    right = []
    for own in tested(count):
        given = {name: x[0] for name, x in meta_torch.tensors(own).items()}
        found = guess(given).argmax(-1) == given["query_y"]
        right.append(float(found.float().mean()))
    return Judged(np.asarray(right), spent)


def _adapted(network: Any) -> Callable[[dict], Any]:
    """(one episode) -> logits of its queries after learn2learn's steps."""
    from torch.nn import functional as F

    learner = learn2learn("algorithms.maml").MAML(network, meta.GLYPH_RATE)

    def guess(own: dict) -> Any:
        clone = learner.clone()
        for _ in range(INNER):
            clone.adapt(F.cross_entropy(clone(own["support_x"]), own["support_y"]))
        return clone(own["query_x"]).detach()

    return guess


def _embedding(weights: dict) -> Any:
    """The Conv4 without its head, filled."""
    from torch import nn

    head = {"head/kernel": _zeros(weights), "head/bias": _zeros(weights)[0]}
    whole = meta_networks.glyph_module({**weights, **head}, DOWN)
    return nn.Sequential(*list(whole)[:-1])


def _zeros(weights: dict) -> Any:
    import torch

    width = len(weights["blocks/3/norm/scale"]) * meta.last_side(DOWN) ** 2
    return torch.zeros(width, meta.WAYS)


def _prototypes(network: Any) -> Callable[[dict], Any]:
    """(one episode) -> logits of its queries by learn2learn's classifier."""
    kind = learn2learn("nn.protonet").PrototypicalClassifier

    def guess(own: dict) -> Any:
        made = kind(network(own["support_x"]), own["support_y"])
        return made(network(own["query_x"]))

    return guess


def _descended(guess: Callable[[dict], Any]) -> Callable[[dict], None]:
    """(batch of episodes) -> gradients of the mean loss, left in the parameters."""
    from torch.nn import functional as F

    def gradient(given: dict) -> None:
        for k in range(TASKS):
            own = {name: x[k] for name, x in given.items()}
            (F.cross_entropy(guess(own), own["query_y"]) / TASKS).backward()

    return gradient


def told(who: str, method: str, found: Sequence[Judged]) -> str:
    """A line of the table: mean over seeds, interval over episodes of all."""
    every = np.concatenate([own.accuracies for own in found])
    half = 1.96 * every.std(ddof=1) / len(every) ** 0.5
    each = ", ".join(f"{own.accuracies.mean():.3f}" for own in found)
    seconds = np.mean([own.seconds for own in found])
    score = f"{every.mean():.3f} ± {half:.3f}"
    return f"| {method} | {who} | {score} | {each} | {seconds:.0f} |"


def main(argv: Sequence[str] | None = None) -> int:
    """The whole command; returns its exit code."""
    given = parser().parse_args(argv)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    print("| method | side | accuracy | by seed | training, s |\n|---|---|---|---|---|")
    for method in given.methods.split(","):
        ways = meta.WAYS if method == "maml" else None
        weights = meta.conv4_weights(FILTERS, DOWN, ways)
        for who, side in (("learn2learn", theirs), ("tl_jax", ours)):
            found = [
                side(method, weights, given.steps, s, given.episodes) for s in seeds
            ]
            print(told(who, method, found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
