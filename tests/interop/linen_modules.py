"""Users' own Linen modules, which know nothing of tl_jax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class Block(nn.Module):
    """Pre-norm attention by DenseGeneral and an MLP; a carry, as `nn.scan` wants."""

    hidden: int = 32
    rate: float = 0.0

    @nn.compact
    def __call__(self, x, train: bool = False):
        h = nn.LayerNorm(name="norm_attention")(x)
        attend = nn.MultiHeadDotProductAttention(
            2, dropout_rate=self.rate, deterministic=not train, name="attention"
        )
        x = x + attend(h)
        return x + Feed(self.hidden, self.rate, name="mlp")(
            nn.LayerNorm(name="norm_mlp")(x), train
        )


class Feed(nn.Module):
    hidden: int
    rate: float

    @nn.compact
    def __call__(self, x, train):
        h = nn.gelu(nn.Dense(self.hidden, name="up")(x))
        h = nn.Dropout(self.rate, deterministic=not train)(h)
        return nn.Dense(x.shape[-1], name="down")(h)


class Transformer(nn.Module):
    """Tokens [B T] -> logits [B 3]; `kind` says how its two blocks are lifted."""

    kind: str = "plain"
    rate: float = 0.0
    width: int = 16

    @nn.compact
    def __call__(self, tokens, train: bool = False):
        x = nn.Embed(20, self.width, name="embed")(tokens)
        if self.kind == "scan":
            many = nn.scan(
                Scanned,
                variable_axes={"params": 0},
                split_rngs={"params": True, "dropout": True},
                length=2,
            )
            x, _ = many(self.rate, train, name="layers")(x, None)
        else:
            own = {"plain": Block, "remat": nn.remat(Block, static_argnums=(2,))}
            own["jit"] = nn.jit(Block, static_argnums=(2,))
            for i in range(2):
                x = own[self.kind](rate=self.rate, name=f"blocks_{i}")(x, train)
        return nn.Dense(3, name="head")(nn.LayerNorm(name="norm")(x).mean(1))


class Scanned(nn.Module):
    rate: float
    train: bool

    @nn.compact
    def __call__(self, x, _):
        return Block(rate=self.rate, name="block")(x, self.train), None


class Pictures(nn.Module):
    """Pictures [B H W C] -> [B 3], with batch norms."""

    @nn.compact
    def __call__(self, image, train: bool = False):
        x = image
        for i in range(2):
            x = nn.Conv(6, (3, 3), name=f"conv_{i}")(x)
            x = nn.BatchNorm(use_running_average=not train, name=f"norm_{i}")(x)
            x = nn.relu(x)
        return nn.Dense(3, name="out")(x.mean((1, 2)))


def tokens(rows: int = 4, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {"tokens": jnp.asarray(rng.integers(0, 20, (rows, 5)))}


def images(rows: int = 4) -> dict:
    rng = np.random.default_rng(1)
    return {"image": jnp.asarray(rng.normal(size=(rows, 5, 5, 2)), jnp.float32)}


def perturbed(params, seed: int = 9):
    """Values that no initialiser makes, so that zeros hide nothing."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: x + 0.1 * rng.standard_normal(x.shape, np.float32), params
    )
