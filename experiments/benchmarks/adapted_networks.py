"""Networks of the rows of adaptation, with the same weights on both sides."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.benchmarks import meta_networks, meta_torch

Arrays = dict[str, np.ndarray]


def dense_weights(
    sizes: Sequence[int], classes: int, norms: bool = False, seed: int = 1
) -> Arrays:
    """Flat weights of `models.mlp`, in the order of torch's parameters."""
    rng, found = np.random.default_rng(seed), {}
    for i, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        kernel = rng.normal(0, (2 / rows) ** 0.5, (rows, columns))
        found |= {f"blocks/{i}/kernel": kernel, f"blocks/{i}/bias": np.zeros(columns)}
        if norms:
            found[f"blocks/{i}/norm/scale"] = np.ones(columns)
            found[f"blocks/{i}/norm/bias"] = np.zeros(columns)
    found["head/kernel"] = rng.normal(0, 0.05, (sizes[-1], classes))
    found["head/bias"] = np.zeros(classes)
    return {name: array.astype(np.float32) for name, array in found.items()}


def critic_weights(width: int, hidden: int) -> Arrays:
    """Of a critic of two layers with batch norms, and one logit."""
    return dense_weights((width, hidden, hidden), 1, norms=True, seed=2)


def dense_module(weights: Arrays) -> tuple[Any, Any]:
    """(body, head) in torch, without norms, filled."""
    from torch import nn

    kernels = [a for name, a in weights.items() if name.endswith("kernel")]
    *layers, head = (nn.Linear(*kernel.shape) for kernel in kernels)
    body = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
    meta_networks.filled(nn.Sequential(body, head), meta_torch.tensors(weights))
    return body, head


def critic_module(weights: Arrays) -> Any:
    """TLlib's discriminator, filled."""
    from experiments.benchmarks.source import tllib

    kind = tllib("modules.domain_discriminator").DomainDiscriminator
    module = kind(*weights["blocks/0/kernel"].shape)
    return meta_networks.filled(module, meta_torch.tensors(weights))


def reversal() -> Any:
    """TLlib's reversal at a constant 1: its warm start calls what NumPy has no more."""
    from experiments.benchmarks.source import tllib

    return tllib("modules.grl").GradientReverseLayer()
