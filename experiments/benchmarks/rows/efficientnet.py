"""EfficientNet-lite0 against a torch module from the paper's table."""

from functools import partial

from experiments.benchmarks import images, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

BATCH, SIZE, STEM, LAST = 32, 112, 32, 1280
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first, expansion, width (Tan and Le, 2019)."""


def with_us(dtype: str, work: images.Work) -> Ready:
    """efficientnet_lite(0), random weights, no dropout."""
    import jax.numpy as jnp

    from tl_jax.models import efficientnet_lite

    make = partial(efficientnet_lite, 0, rate=0.0, dtype=jnp.dtype(dtype))
    return images.our_side(make, work, BATCH, SIZE)


def with_torch(work: images.Work, compile: bool, dtype: str) -> Ready:
    """The same shape in torch, channels last."""
    how = dict(compile=compile, dtype=dtype)
    return images.their_side(body(), LAST, work, BATCH, SIZE, **how)


def body():
    """Stem, inverted residuals, neck, mean; ReLU6 and TensorFlow's padding.

    [B 3 H W] -> [B D]
    """
    import torch
    from torch import nn

    class Padded(nn.Module):
        """Padding so that a stride of 2 halves the image, more of it at the end."""

        def __init__(self, size: int, stride: int) -> None:
            super().__init__()
            self.size, self.stride = size, stride

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sides = []
            for length in (x.shape[3], x.shape[2]):
                out = -(-length // self.stride)
                total = max((out - 1) * self.stride + self.size - length, 0)
                sides += [total // 2, total - total // 2]
            return nn.functional.pad(x, sides)

    def unit(
        d_in: int, d_out: int, size: int, stride: int = 1, groups: int = 1, act=True
    ) -> list[nn.Module]:
        own = 0 if stride > 1 else size // 2
        kernel = nn.Conv2d(d_in, d_out, size, stride, own, groups=groups, bias=False)
        norm = nn.BatchNorm2d(d_out, eps=1e-3)
        before = [Padded(size, stride)] if stride > 1 else []
        return [*before, kernel, norm, *([nn.ReLU6(inplace=True)] if act else [])]

    class Block(nn.Module):
        def __init__(self, d_in, size, stride, expansion, d_out) -> None:
            super().__init__()
            wide = d_in * expansion
            layers = unit(d_in, wide, 1) if expansion > 1 else []
            layers += unit(wide, wide, size, stride, groups=wide)
            self.branch = nn.Sequential(*layers, *unit(wide, d_out, 1, act=False))
            self.added = stride == 1 and d_in == d_out

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.branch(x)
            return x + y if self.added else y

    layers, before = unit(3, STEM, 3, 2), STEM
    for count, size, stride, expansion, width in STAGES:
        for i in range(count):
            layers.append(Block(before, size, 1 if i else stride, expansion, width))
            before = width
    layers += unit(before, LAST, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def row(work: images.Work, title: str, what: str) -> Row:
    """One row; both have the same sides."""
    return Row(
        f"efficientnet_{work}",
        f"EfficientNet-lite0, {title}",
        f"{what}; batch {BATCH} of {SIZE}x{SIZE}.",
        ours=pairs.ours(f"{__name__}:with_us", work=work),
        peers=pairs.peers("torch", f"{__name__}:with_torch", work=work),
        examples=BATCH,
        product=(BATCH * 28 * 28, 24, 144),
        tried=tried.CONVOLUTIONS,
    )


ROWS = (
    row(
        "full", "full step", "One step of AdamW on all weights, batch norm by the batch"
    ),
    row("features", "features", "Features under running statistics"),
)
