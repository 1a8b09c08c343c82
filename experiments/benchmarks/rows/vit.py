"""A small vision transformer on small images against transformers."""

from functools import partial

from experiments.benchmarks import images, pairs, tried
from experiments.benchmarks.kinds import Ready, Row

BATCH, SIZE, PATCH, WIDTH = 64, 32, 4, 192
TOKENS = (SIZE // PATCH) ** 2 + 1
NEEDS = ("torch", "transformers")


def with_us(dtype: str, work: images.Work) -> Ready:
    """ViT-Ti/4, random weights."""
    import jax.numpy as jnp

    from tl_jax.models import vit

    made = dict(patch=PATCH, size=SIZE, dtype=jnp.dtype(dtype))
    return images.our_side(partial(vit, "ti", **made), work, BATCH, SIZE)


def with_transformers(work: images.Work, compile: bool, dtype: str) -> Ready:
    """The same shape as transformers has it, features from the class token."""
    how = dict(compile=compile, dtype=dtype)
    return images.their_side(body(), WIDTH, work, BATCH, SIZE, **how)


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


def row(work: images.Work, title: str, what: str) -> Row:
    """One row; all have the same sides."""
    return Row(
        f"vit_{work}",
        f"ViT-Ti/4, {title}",
        f"{what}; batch {BATCH} of {SIZE}x{SIZE}, {TOKENS} tokens an image.",
        ours=pairs.ours(f"{__name__}:with_us", work=work),
        peers=pairs.peers(
            "transformers", f"{__name__}:with_transformers", NEEDS, work=work
        ),
        examples=BATCH,
        product=(BATCH * TOKENS, WIDTH, 4 * WIDTH),
        tried=tried.TRANSFORMERS,
    )


ROWS = (
    row("full", "full step", "One step of AdamW on all weights"),
    row("probe", "probe step", "One step of AdamW on the head, the body frozen"),
    row("features", "features", "Features of the class token"),
)
