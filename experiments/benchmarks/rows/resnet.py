"""ResNet-18 on small images against a torch module of torchvision's layout."""

from functools import partial

from experiments.benchmarks import images, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

BATCH, SIZE = 64, 32
WIDTHS = (64, 128, 256, 512)


def with_us(dtype: str, work: images.Work) -> Ready:
    """resnet(18, stem="cifar"), random weights."""
    import jax.numpy as jnp

    from tl_jax.models import resnet

    make = partial(resnet, 18, stem="cifar", dtype=jnp.dtype(dtype))
    return images.our_side(make, work, BATCH, SIZE)


def with_torch(work: images.Work, compile: bool, dtype: str) -> Ready:
    """The same shape in torch, channels last."""
    how = dict(compile=compile, dtype=dtype)
    return images.their_side(body(), WIDTHS[-1], work, BATCH, SIZE, **how)


def body():
    """Two basic blocks in each of four stages behind a 3x3 stem; [B 3 H W] -> [B D]."""
    import torch
    from torch import nn

    def conv(d_in: int, d_out: int, size: int, stride: int = 1) -> list[nn.Module]:
        kernel = nn.Conv2d(d_in, d_out, size, stride, size // 2, bias=False)
        return [kernel, nn.BatchNorm2d(d_out)]

    class Block(nn.Module):
        def __init__(self, d_in: int, d_out: int, stride: int) -> None:
            super().__init__()
            first = [*conv(d_in, d_out, 3, stride), nn.ReLU(inplace=True)]
            self.branch = nn.Sequential(*first, *conv(d_out, d_out, 3))
            same = stride == 1 and d_in == d_out
            short = [] if same else conv(d_in, d_out, 1, stride)
            self.shortcut = nn.Sequential(*short)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.branch(x) + self.shortcut(x))

    layers, before = [*conv(3, WIDTHS[0], 3), nn.ReLU(inplace=True)], WIDTHS[0]
    for stage, width in enumerate(WIDTHS):
        layers += [Block(before, width, 2 if stage else 1), Block(width, width, 1)]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def row(work: images.Work, title: str, what: str) -> Row:
    """One row; all have the same sides."""
    return Row(
        f"resnet_{work}",
        f"ResNet-18, {title}",
        f"{what}; CIFAR stem, batch {BATCH} of {SIZE}x{SIZE}.",
        ours=pairs.ours(f"{__name__}:with_us", work=work),
        peers=pairs.peers("torch", f"{__name__}:with_torch", work=work),
        examples=BATCH,
        product=(BATCH * 16 * 16, 9 * 128, 128),
        tried=tried.CONVOLUTIONS,
    )


ROWS = (
    row(
        "full", "full step", "One step of AdamW on all weights, batch norm by the batch"
    ),
    row(
        "probe",
        "probe step",
        "One step of AdamW on the head, body and statistics frozen",
    ),
    row("features", "features", "Features under running statistics"),
)
