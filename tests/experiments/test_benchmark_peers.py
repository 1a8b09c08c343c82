"""The peers that benchmarks time compute what our models compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.rows import efficientnet, resnet, vit
from tl_jax import models, pretrained
from tl_jax.nn import Running
from tl_jax.tree import flatten

pytestmark = pytest.mark.parity


def drawn(model):
    """Weights and statistics that are all different."""
    params, stats = model.init(jax.random.key(0))
    rng = np.random.default_rng(0)

    def vary(leaf):
        """Norms alone: kernels are random already, and larger ones lose digits."""
        noise = rng.normal(0, 0.1, leaf.shape).astype(np.float32)
        return leaf + noise if leaf.ndim == 1 else leaf

    params = jax.tree.map(vary, params)
    moved = {
        path: Running(
            jnp.asarray(rng.normal(size=node.mean.shape), jnp.float32),
            jnp.asarray(rng.uniform(0.5, 2, node.var.shape), jnp.float32),
        )
        for path, node in stats.items()
    }
    return params, moved


def fill(body, params, stats, order):
    """Our leaves into torch's convolutions and norms, which come in the same order."""
    import torch

    layers = [m for m in body.modules() if not list(m.children())]
    convs = [m for m in layers if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in layers if isinstance(m, torch.nn.BatchNorm2d)]
    flat = flatten(params)
    assert len(convs) == len(norms) == len(order)

    def put(place, value):
        assert place.shape == value.shape
        place.data.copy_(torch.from_numpy(np.array(value)))

    for conv, norm, (kernel, site) in zip(convs, norms, order, strict=True):
        put(conv.weight, np.asarray(flat[f"{kernel}/kernel"]).transpose(3, 2, 0, 1))
        put(norm.weight, flat[f"{site}/scale"])
        put(norm.bias, flat[f"{site}/bias"])
        put(norm.running_mean, stats[site].mean)
        put(norm.running_var, stats[site].var)


def agree(model, params, stats, body, size):
    """Features under running statistics, and under those of the batch."""
    import torch

    rng = np.random.default_rng(1)
    image = rng.normal(size=(4, size, size, 3)).astype(np.float32)
    turned = torch.from_numpy(image.transpose(0, 3, 1, 2))
    for norm in ("running", "batch"):
        body.train(norm == "batch")
        found = model.apply(params, stats, {"image": image}, norm=norm)[0].features
        with torch.no_grad():
            expected = body(turned).numpy()
        error = np.abs(np.asarray(found) - expected).max()
        assert error < 1e-4 * np.abs(expected).max(), norm


def order_of(params, names, ends=()):
    """(kernel, norm) paths in the order of the walk."""
    found = [("embed/conv", "embed/norm")]
    for name in sorted(params["blocks"], key=int):
        site = params["blocks"][name]
        at = f"blocks/{name}"
        found += [(f"{at}/{a}", f"{at}/{b}") for a, b in names if a in site]
    return [*found, *ends]


def test_resnet():
    model = models.resnet(18, stem="cifar")
    params, stats = drawn(model)
    names = [("conv_1", "norm_1"), ("conv_2", "norm_2"), ("shortcut", "norm_shortcut")]
    body = resnet.body()
    fill(body, params, stats, order_of(params, names))
    agree(model, params, stats, body, 16)


def test_efficientnet():
    model = models.efficientnet_lite(0, rate=0.0)
    params, stats = drawn(model)
    names = [(n, f"norm_{n}") for n in ("expand", "depthwise", "project")]
    body = efficientnet.body()
    ends = [("neck/conv", "neck/norm")]
    fill(body, params, stats, order_of(params, names, ends))
    agree(model, params, stats, body, 112)


@pytest.mark.parametrize("row", [resnet, efficientnet, vit])
def test_both_sides_of_a_row_extract_features(row, monkeypatch):
    """Ours and the peer's, of the sizes that rows have but of two pictures."""
    monkeypatch.setattr(row, "BATCH", 2)
    (found,) = [one for one in row.ROWS if one.name.endswith("_features")]
    for side in (found.ours[0], found.peers[0]):
        _, _, function = side.build.partition(":")
        ready = getattr(row, function)(**side.options)
        ready.call()
        assert 0 < ready.facts()["norm of the first features"] < np.inf


def test_vit(tmp_path):
    body = vit.body().eval()
    body.vit.save_pretrained(tmp_path)
    base = pretrained.load(tmp_path, features="cls")
    agree(base.model, base.params, base.stats, body, vit.SIZE)
