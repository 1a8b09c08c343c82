"""ResNet-18 on small images against a torch module of torchvision's layout."""

from experiments.benchmarks import images, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

BATCH, SIZE = 64, 32
WIDTHS = (64, 128, 256, 512)


def with_us(dtype: str, probe: bool) -> Ready:
    """resnet(18, stem="cifar"), random weights."""
    import jax.numpy as jnp

    from tl_jax.models import resnet

    sizes = dict(stem="cifar", classes=images.CLASSES)
    model = resnet(18, **sizes, dtype=jnp.dtype(dtype))
    return images.our_step(model, BATCH, SIZE, probe)


def with_torch(probe: bool, compile: bool, dtype: str) -> Ready:
    """The same shape in torch, channels last."""
    import torch

    how = dict(compile=compile, dtype=dtype)
    head = torch.nn.Linear(WIDTHS[-1], images.CLASSES)
    return images.their_step(body(), head, BATCH, SIZE, probe, **how)


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


def row(name: str, title: str, work: str, probe: bool) -> Row:
    """One row; both steps have the same sides."""
    return Row(
        name,
        title,
        f"{work}; CIFAR stem, batch {BATCH} of {SIZE}x{SIZE}.",
        ours=pairs.ours(f"{__name__}:with_us", probe=probe),
        peers=pairs.peers("torch", f"{__name__}:with_torch", probe=probe),
        examples=BATCH,
        product=(BATCH * 16 * 16, 9 * 128, 128),
        tried=tried.CONVOLUTIONS,
    )


ROWS = (
    row(
        "resnet_full",
        "ResNet-18, full step",
        "One step of AdamW on all weights, batch norm by the batch",
        False,
    ),
    row(
        "resnet_probe",
        "ResNet-18, probe step",
        "One step of AdamW on the head, body and statistics frozen",
        True,
    ),
)
