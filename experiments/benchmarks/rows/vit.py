"""A small vision transformer on small images against transformers."""

from experiments.benchmarks import images, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

BATCH, SIZE, PATCH, WIDTH = 64, 32, 4, 192
TOKENS = (SIZE // PATCH) ** 2 + 1
NEEDS = ("torch", "transformers")


def with_us(dtype: str, probe: bool) -> Ready:
    """ViT-Ti/4, random weights."""
    import jax.numpy as jnp

    from tl_jax.models import vit

    sizes = dict(patch=PATCH, size=SIZE, classes=images.CLASSES)
    model = vit("ti", **sizes, dtype=jnp.dtype(dtype))
    return images.our_step(model, BATCH, SIZE, probe)


def with_transformers(probe: bool, compile: bool, dtype: str) -> Ready:
    """The same shape as transformers has it, features from the class token."""
    import torch

    how = dict(compile=compile, dtype=dtype)
    head = torch.nn.Linear(WIDTH, images.CLASSES)
    return images.their_step(body(), head, BATCH, SIZE, probe, **how)


def body():
    """transformers' ViTModel without its pooler; image -> class token [B D]."""
    import torch
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=12,
        num_attention_heads=3,
        intermediate_size=4 * WIDTH,
        image_size=SIZE,
        patch_size=PATCH,
        layer_norm_eps=1e-6,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = ViTModel(config, add_pooling_layer=False)

        def forward(self, image):
            return self.vit(pixel_values=image).last_hidden_state[:, 0]

    return Body()


def row(name: str, title: str, work: str, probe: bool) -> Row:
    """One row; both steps have the same sides."""
    return Row(
        name,
        title,
        f"{work}; batch {BATCH} of {SIZE}x{SIZE}, {TOKENS} tokens an image.",
        ours=pairs.ours(f"{__name__}:with_us", probe=probe),
        peers=pairs.peers(
            "transformers", f"{__name__}:with_transformers", NEEDS, probe=probe
        ),
        examples=BATCH,
        product=(BATCH * TOKENS, WIDTH, 4 * WIDTH),
        tried=tried.TRANSFORMERS,
    )


ROWS = (
    row("vit_full", "ViT-Ti/4, full step", "One step of AdamW on all weights", False),
    row(
        "vit_probe",
        "ViT-Ti/4, probe step",
        "One step of AdamW on the head, the body frozen",
        True,
    ),
)
