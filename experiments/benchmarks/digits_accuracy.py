"""Accuracy on digits of another domain beside TLlib's, on the same rows and weights.

    python -m experiments.benchmarks.digits_accuracy --steps 200 --seeds 0,1,2

DANN and DAN with a Conv4. Both sides take the same steps of Adam on the same batches
from the same weights, the loop of TLlib's examples around its own losses on one side,
`adapted` on the other; both are judged on the same test rows, which neither has seen.
Prints a table: accuracy, deviation over seeds, seconds. Needs the extra `parity` and
TLlib's source (`experiments.benchmarks.source`).
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import meta, meta_networks, meta_torch
from experiments.benchmarks.adapted_networks import critic_module, critic_weights
from experiments.benchmarks.source import tllib

FILTERS, CLASSES, HIDDEN, BATCH, RATE = 32, 10, 64, 64, 2e-3
METHODS = ("source_only", "dan", "dann")


class Pair(NamedTuple):
    """Pictures in 0..1 and labels of two domains, as one study splits them."""

    source: tuple[np.ndarray, np.ndarray]
    target: np.ndarray
    test: tuple[np.ndarray, np.ndarray]


class Judged(NamedTuple):
    """One side's outcome."""

    accuracy: float
    seconds: float
    """Of training, compilation left out."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.digits_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--steps", type=int, default=200)
    made.add_argument("--seeds", default="0,1,2", help="with commas")
    made.add_argument("--config", default="configs/digits_shift.py")
    made.add_argument("--methods", default=",".join(METHODS), help="with commas")
    made.add_argument(
        "--pairs",
        default="rendered-digits:mnist,mnist:digits",
        help="SOURCE:TARGET with commas",
    )
    return made


def pair_of(config: str, source: str, target: str) -> Pair:
    """Rows of two domains as a config of digits has them."""
    from experiments.main import read
    from experiments.problem import make_problem

    line = ["digits_accuracy", f"--config={config}:{source},{target}"]
    problem = make_problem(read(line).config)
    rows, labels = problem.split(0), problem.domains.truth
    pictures = np.asarray(problem.encoded.columns["image"], np.float32) / 255

    def of(name: str) -> tuple[np.ndarray, np.ndarray]:
        return pictures[rows[name]], labels[rows[name]].astype(np.int32)

    return Pair(of("train"), of("target")[0], of("test"))


def batches(pair: Pair, steps: int, seed: int) -> Iterator[tuple]:
    """(source's pictures, their labels, target's pictures) that both sides see."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        ours = rng.integers(0, len(pair.source[0]), BATCH)
        theirs = rng.integers(0, len(pair.target), BATCH)
        yield pair.source[0][ours], pair.source[1][ours], pair.target[theirs]


def starts(seed: int) -> tuple[dict, dict]:
    """Weights of the network and of the critic, the same for both sides."""
    body = meta.conv4_weights(FILTERS, "pool", CLASSES)
    width = len(body["head/kernel"])
    rng = np.random.default_rng(seed)
    turned = {
        name: x[..., rng.permutation(x.shape[-1])] if name.endswith("kernel") else x
        for name, x in body.items()
    }
    return turned, critic_weights(width, HIDDEN)


def ours(method: str, pair: Pair, steps: int, seed: int) -> Judged:
    """The library's side."""
    import jax
    import optax

    from tl_jax.algorithms.adaptation import adapted
    from tl_jax.algorithms.adaptation.dann import dann
    from tl_jax.algorithms.adaptation.discrepancy import dan
    from tl_jax.losses import cross_entropy
    from tl_jax.models import conv4, mlp
    from tl_jax.transfer import full
    from tl_jax.tree import unflatten
    from tl_jax.types import Player

    key, (weights, second) = jax.random.key(seed), starts(seed)
    how = dict(size=meta.SIDE, channels=1, filters=FILTERS, classes=CLASSES)
    model = conv4(**how, form="lax")
    critic = mlp(model.width, (HIDDEN, HIDDEN), classes=1, batch_norms=True)

    def player(model: Any, flat: dict) -> Player:
        leaves = unflatten(jax.device_put(dict(flat)))
        return Player(model, full(leaves, model.init(key)[1]), optax.adam(RATE))

    players = {"model": player(model, weights)}
    if method == "dann":
        players["critic"] = player(critic, second)
    terms = {"source_only": {}, "dan": {"dan": dan()}, "dann": {"dann": dann()}}
    made = adapted(
        players,
        lambda outputs, stream: cross_entropy(outputs.logits, stream["labels"]),
        terms[method],
        steps=steps,
    )
    state, frozen = made.init(key, players)
    step, spent = jax.jit(made.step, donate_argnums=0), 0.0
    for i, own in enumerate(batches(pair, steps, seed)):
        batch, began = _streams(*own, method), time.perf_counter()
        state, _ = jax.block_until_ready(step(state, frozen, batch, key))
        spent += time.perf_counter() - began if i else 0.0  # the first one compiles
    predict = jax.jit(made.predict)
    query = {"query": {"inputs": {"image": pair.test[0]}}}
    guess = np.asarray(predict(state, frozen, query).logits).argmax(-1)
    return Judged(float((guess == pair.test[1]).mean()), spent)


def _streams(x: np.ndarray, y: np.ndarray, target: np.ndarray, method: str) -> dict:
    def stream(pictures: np.ndarray) -> dict:
        ones, index = np.ones(len(pictures), np.float32), np.arange(len(pictures))
        return {"inputs": {"image": pictures}, "weight": ones, "index": index}

    made = {"source": stream(x) | {"labels": y}}
    return made if method == "source_only" else made | {"target": stream(target)}


def theirs(method: str, pair: Pair, steps: int, seed: int) -> Judged:
    """TLlib's losses in the loop of its examples."""
    import torch
    from torch.nn import functional as F

    weights, second = starts(seed)
    body, head = _network(meta_torch.tensors(weights))
    modules = [body, head]
    apart, critic = _apart(method, second)
    modules += [critic] if critic is not None else []
    moving = [p for module in modules for p in module.parameters()]
    optimiser, spent = torch.optim.Adam(moving, RATE), 0.0
    for i, (x, y, other) in enumerate(batches(pair, steps, seed)):
        rows = [x] if method == "source_only" else [x, other]
        both = torch.from_numpy(np.concatenate(rows).transpose(0, 3, 1, 2).copy())
        labels, began = torch.from_numpy(y).long(), time.perf_counter()
        optimiser.zero_grad()
        features = body(both)
        loss = F.cross_entropy(head(features[: len(x)]), labels)
        if apart is not None:
            loss = loss + apart(*features.chunk(2), progress=i / steps)
        loss.backward()
        optimiser.step()
        spent += time.perf_counter() - began if i else 0.0
    body.eval()
    with torch.no_grad():
        pictures = torch.from_numpy(pair.test[0].transpose(0, 3, 1, 2).copy())
        guess = head(body(pictures)).argmax(-1).numpy()
    return Judged(float((guess == pair.test[1]).mean()), spent)


def _network(weights: dict) -> tuple[Any, Any]:
    """(body, head): the Conv4 with running statistics, as they are for testing."""
    from torch import nn

    layers: list[Any] = []
    for i in range(4):
        wide, channels, *_ = weights[f"blocks/{i}/conv/kernel"].shape
        layers += [nn.Conv2d(channels, wide, 3, 1, 1), nn.BatchNorm2d(wide)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    body = nn.Sequential(*layers, nn.Flatten())
    head = nn.Linear(*weights["head/kernel"].shape)
    meta_networks.filled(nn.Sequential(body, head), weights)
    return body, head


def _apart(method: str, weights: dict) -> tuple[Any, Any]:
    """(loss of two domains' features and the progress, the critic that it has)."""
    if method == "source_only":
        return None, None
    if method == "dan":
        kernel = tllib("modules.kernels").GaussianKernel
        five = [kernel(alpha=2.0**k) for k in range(-3, 2)]
        loss = tllib("alignment.dan").MultipleKernelMaximumMeanDiscrepancy(five)
        return lambda source, target, progress: loss(source, target), None
    critic, grl = critic_module(weights), tllib("modules.grl")

    def domains(source: Any, target: Any, progress: float) -> Any:
        # Its warm start calls what NumPy has no more: the same ramp, by hand.
        turned = float(np.tanh(5 * progress))
        turn = partial(_reversed, grl.GradientReverseFunction, turned)
        kind = tllib("alignment.dann").DomainAdversarialLoss
        return kind(critic, grl=turn)(source, target)

    return domains, critic


def _reversed(function: Any, strength: float, x: Any) -> Any:
    return function.apply(x, strength)


def told(who: str, method: str, pair: str, found: Sequence[Judged]) -> str:
    """A line of the table: mean and deviation over seeds."""
    scores = np.asarray([own.accuracy for own in found])
    spread = scores.std(ddof=1) if len(scores) > 1 else float("nan")
    each = ", ".join(f"{score:.3f}" for score in scores)
    seconds = np.mean([own.seconds for own in found])
    line = f"| {pair} | {method} | {who} | {scores.mean():.3f} ± {spread:.3f} "
    return line + f"| {each} | {seconds:.1f} |"


def main(argv: Sequence[str] | None = None) -> int:
    """The whole command; returns its exit code."""
    given = parser().parse_args(argv)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    print("| pair | method | side | accuracy | by seed | training, s |")
    print("|---|---|---|---|---|---|")
    for name in given.pairs.split(","):
        pair = pair_of(given.config, *name.split(":"))
        for method in given.methods.split(","):
            for who, side in (("TLlib", theirs), ("tl_jax", ours)):
                found = [side(method, pair, given.steps, seed) for seed in seeds]
                print(told(who, method, name, found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
