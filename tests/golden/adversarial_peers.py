"""Adversarial losses of TLlib and pytorch-adapt, by name.

Each is a function of torch's `source`, `target` (features), `source_logits` and
`target_logits`, with a critic of given weights. Their folders stand on PYTHONPATH:
TLlib with prettytable, pytorch-adapt with pytorch-metric-learning and torchmetrics.
"""

import importlib
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from experiments.benchmarks.source import tllib

CLASSES, WIDTH, SIZE, HIDDEN = 3, 5, 7, 6
DONE, LONG = 300, 1000
"""Steps that TLlib's reversal has behind it, and in which it grows."""
SIDES = ("source", "target", "source_logits", "target_logits")


def drawn() -> dict[str, np.ndarray]:
    """Eight rows of each domain, other heads' logits, critics' weights, maps."""
    rng = np.random.default_rng(0)
    found = {}
    for side in ("source", "target"):
        found[side] = rng.normal(size=(8, WIDTH)).astype("f")
        found[f"{side}_logits"] = 2 * rng.normal(size=(8, CLASSES)).astype("f")
    for inputs in (WIDTH, WIDTH * CLASSES, SIZE):
        found[f"in{inputs}"] = rng.normal(size=(inputs, HIDDEN)).astype("f")
        found[f"bias{inputs}"] = rng.normal(size=HIDDEN).astype("f")
    for outputs in (1, 2, CLASSES):
        found[f"out{outputs}"] = rng.normal(size=(HIDDEN, outputs)).astype("f")
    found["of_features"] = rng.normal(size=(WIDTH, SIZE)).astype("f")
    found["of_shares"] = rng.normal(size=(CLASSES, SIZE)).astype("f")
    return found


def network(inputs: int, outputs: int, last: tuple[nn.Module, ...] = ()) -> nn.Module:
    """A hidden layer of the given weights, in float32."""
    given = drawn()
    made = nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs), *last
    )
    with torch.no_grad():
        made[0].weight.copy_(torch.from_numpy(given[f"in{inputs}"].T))
        made[0].bias.copy_(torch.from_numpy(given[f"bias{inputs}"]))
        made[2].weight.copy_(torch.from_numpy(given[f"out{outputs}"].T))
        made[2].bias.zero_()
    return made


def of_tllib() -> dict[str, Callable]:
    """Its losses as its scripts add them, behind a reversal that is under way."""
    if not hasattr(np, "float"):
        np.float = float  # which its reversal still calls
    layer = tllib("modules.grl").WarmStartGradientReverseLayer
    domain = tllib("alignment.dann").DomainAdversarialLoss
    conditional = tllib("alignment.cdan")
    margins = tllib("alignment.mdd").ClassificationMarginDisparityDiscrepancy
    mcd = tllib("alignment.mcd")

    def under_way(high: float = 1.0) -> nn.Module:
        made = layer(alpha=1.0, lo=0.0, hi=high, max_iters=LONG, auto_step=False)
        made.iter_num = DONE
        return made

    def dann(critic: nn.Module, sigmoid: bool) -> Callable:
        loss = domain(critic, grl=under_way(), sigmoid=sigmoid)
        return lambda s, t, *_: loss(s, t)

    def cdan(inputs: int, **how: object) -> Callable:
        critic = network(inputs, 1, (nn.Sigmoid(),))
        loss = conditional.ConditionalDomainAdversarialLoss(critic, **how)
        loss.grl = under_way()
        if how.get("randomized"):
            given = drawn()
            loss.map.Rf = torch.from_numpy(given["of_features"])
            loss.map.Rg = torch.from_numpy(given["of_shares"])
        return lambda s, t, p, q: loss(p, s, q, t)

    def mdd(s, t, p, q):
        turned = under_way(0.1)
        other = network(WIDTH, CLASSES)(turned(torch.cat([s, t])))
        return -margins(margin=4.0)(p, other[: len(s)], q, other[len(s) :])

    random = dict(num_classes=CLASSES, features_dim=WIDTH, randomized_dim=SIZE)
    return {
        "tllib/dann": dann(network(WIDTH, 1, (nn.Sigmoid(),)), True),
        "tllib/dann_two": dann(network(WIDTH, 2), False),
        "tllib/cdan": cdan(WIDTH * CLASSES),
        "tllib/cdan_entropy": cdan(WIDTH * CLASSES, entropy_conditioning=True),
        "tllib/cdan_random": cdan(SIZE, randomized=True, **random),
        "tllib/mdd": mdd,
        "tllib/mcd": lambda s, t, p, q: mcd.classifier_discrepancy(
            p.softmax(1), q.softmax(1)
        ),
        "tllib/balance": lambda s, t, p, q: mcd.entropy(q.softmax(1)),
    }


def of_pytorch_adapt() -> dict[str, Callable]:
    """Its layers, where they stand for a number."""
    name = "pytorch_adapt.layers."
    mcd = importlib.import_module(name + "mcd_loss").MCDLoss()
    entropy = importlib.import_module(name + "entropy_loss").EntropyLoss()
    return {
        "pytorch_adapt/mcd": lambda s, t, p, q: mcd(p, q),
        "pytorch_adapt/entropy": lambda s, t, p, q: entropy(q),
    }


PEERS = {"tllib": of_tllib, "pytorch_adapt": of_pytorch_adapt}


def computed(value: Callable) -> Mapping[str, np.ndarray]:
    """A loss of `drawn`, and its gradients of all four inputs, 0 where it has none."""
    given = [torch.from_numpy(drawn()[name]).requires_grad_() for name in SIDES]
    found = value(*given)
    slopes = torch.autograd.grad(found, given, allow_unused=True)
    kept = {"value": found.detach().numpy()}
    for name, leaf, slope in zip(SIDES, given, slopes, strict=True):
        kept[name] = np.zeros(leaf.shape, "f") if slope is None else slope.numpy()
    return kept
