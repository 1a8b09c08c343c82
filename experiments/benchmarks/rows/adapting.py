"""Steps of DANN and DAN on features and on pictures against TLlib."""

from typing import Any

from experiments.benchmarks import adaptation, meta, meta_networks, meta_torch, pairs
from experiments.benchmarks.adaptation import BATCH, CLASSES, NEEDS, WIDTH
from experiments.benchmarks.adapted_networks import (
    critic_module,
    critic_weights,
    dense_module,
    dense_weights,
    reversal,
)
from experiments.benchmarks.kinds import Ready, Row
from experiments.benchmarks.source import tllib

INPUTS, HIDDEN = 384, 256
"""Of frozen MiniLM features, and of the critic's two layers."""
FILTERS, PIXELS, DIGITS = 32, meta.SIDE, 10
"""Of the Conv4."""
STEPS = {"mlp": 16, "conv4": 1}
"""Steps of a call: short ones go in chunks."""


def with_us(method: str, network: str, dtype: str) -> Ready:
    """`adapted` with one term."""
    from tl_jax.algorithms.adaptation.dann import dann
    from tl_jax.algorithms.adaptation.discrepancy import dan
    from tl_jax.models import conv4, mlp

    if network == "mlp":
        widths = (WIDTH, WIDTH)
        model = mlp(INPUTS, widths, classes=CLASSES)
        weights = dense_weights((INPUTS, *widths), CLASSES)
    else:
        model = conv4(
            size=PIXELS, channels=1, filters=FILTERS, classes=DIGITS, form="lax"
        )
        weights = meta.conv4_weights(FILTERS, "pool", DIGITS)
    players = {"model": (model, weights)}
    if method == "dann":
        own = critic_weights(model.width, HIDDEN)
        critic = mlp(model.width, (HIDDEN, HIDDEN), classes=1, batch_norms=True)
        players["critic"] = critic, own
    term = dann(steepness=None) if method == "dann" else dan()
    field = "features" if network == "mlp" else "image"
    how = field, data_of(network), STEPS[network]
    return adaptation.step_with_us(players, {method: term}, *how)


def with_tllib(method: str, network: str, compile: bool, dtype: str) -> Ready:
    """TLlib's losses around the same networks, in the loop of its examples."""
    import torch
    from torch.nn import functional as F

    data = data_of(network)
    both = torch.as_tensor(_rows(data, network))
    labels = torch.as_tensor(data["labels"]).long()
    body, head, width = their_network(network)
    less, parts = 0.0, [body, head]
    if method == "dann":
        critic = critic_module(critic_weights(width, HIDDEN))
        kind = tllib("alignment.dann").DomainAdversarialLoss
        apart = kind(critic, grl=reversal())
        parts.append(critic)
    else:
        kernel = tllib("modules.kernels").GaussianKernel
        five = [kernel(alpha=2.0**k) for k in range(-3, 2)]
        apart = tllib("alignment.dan").MultipleKernelMaximumMeanDiscrepancy(five)
        less = 2 / (BATCH - 1)

    def total() -> Any:
        features = body(both)
        logits, _ = head(features).chunk(2)
        return F.cross_entropy(logits, labels) + apart(*features.chunk(2))

    modules = torch.nn.ModuleList(parts)
    how = dict(compile=compile, less=less)
    return adaptation.step_with_torch(modules, total, STEPS[network], **how)


def their_network(network: str) -> tuple[Any, Any, int]:
    """(body, head, width of the features) in torch, filled."""
    if network == "mlp":
        body, head = dense_module(dense_weights((INPUTS, WIDTH, WIDTH), CLASSES))
        return body, head, WIDTH
    weights = meta_torch.tensors(meta.conv4_weights(FILTERS, "pool", DIGITS))
    *layers, head = meta_networks.glyph_module(weights, "pool")
    import torch

    return torch.nn.Sequential(*layers), head, head.in_features


def data_of(network: str) -> dict:
    """Two domains of features or of pictures."""
    if network == "mlp":
        return adaptation.domains(BATCH, INPUTS, classes=CLASSES)
    return adaptation.domains(BATCH, PIXELS, PIXELS, 1, classes=DIGITS)


def _rows(data: dict, network: str) -> Any:
    import numpy as np

    both = np.concatenate([data["source"], data["target"]])
    if network == "mlp":
        return both
    return np.ascontiguousarray(both.transpose(0, 3, 1, 2))


def row(method: str, network: str) -> Row:
    """A method's row on one network."""
    title = {"dann": "DANN", "dan": "DAN"}[method]
    body = {
        "mlp": f"features of {INPUTS}, two layers of {WIDTH}, {CLASSES} classes",
        "conv4": f"pictures of {PIXELS}x{PIXELS}x1, a Conv4 of {FILTERS} filters",
    }[network]
    beside = {
        "dann": f"a critic of two layers of {HIDDEN} with batch norms",
        "dan": "five Gaussians, quadratic",
    }[method]
    how = dict(method=method, network=network)
    count = {"mlp": "A chunk of 16 steps", "conv4": "One step"}[network]
    return Row(
        f"{method}_{network}",
        f"{title} on {'features' if network == 'mlp' else 'pictures'}",
        f"{count} of AdamW, {BATCH} rows a domain: {body}; {beside}.",
        ours=(adaptation.mine(f"{__name__}:with_us", **how),),
        peers=pairs.peers("TLlib", f"{__name__}:with_tllib", NEEDS, **how),
        examples=2 * BATCH * STEPS[network],
    )


ROWS = (row("dann", "mlp"), row("dan", "mlp"), row("dann", "conv4"))
