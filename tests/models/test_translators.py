"""The generator and the discriminator of patches, by hand and against TLlib."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.models import generator, patch_critic
from tl_jax.nn import conv, instance_norm, interleaved, reflected
from tl_jax.tree import flatten

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 1)).astype(np.uint8)
SMALL = dict(size=12, channels=1, width=3, form="lax")


def test_each_picture_has_its_own_moments():
    rng = np.random.default_rng(1)
    x = rng.normal(2, 3, (3, 5, 4, 2)).astype(np.float32)
    wanted = np.empty_like(x)
    for i in range(3):
        for c in range(2):
            own = x[i, :, :, c].astype(np.float64)
            wanted[i, :, :, c] = (own - own.mean()) / np.sqrt(own.var() + 1e-5)
    np.testing.assert_allclose(instance_norm({}, x), wanted, atol=1e-5)
    site = {"scale": jnp.asarray([2.0, 3.0]), "bias": jnp.asarray([1.0, -1.0])}
    wanted = wanted * [2, 3] + [1, -1]
    np.testing.assert_allclose(instance_norm(site, x), wanted, atol=2e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_its_rule_is_jax_s_own(order):
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 2))

    def derivative(rules):
        def f(x):
            return (jnp.sin(instance_norm({}, x, rules=rules)) ** 3).sum()

        grad = jax.grad(f)
        return grad(x) if order == 1 else jax.grad(lambda x: (grad(x) ** 2).sum())(x)

    np.testing.assert_allclose(derivative("hand"), derivative("auto"), atol=3e-4)


def test_edges_are_mirrored():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    wanted = np.pad(x[0, :, :, 0], 2, mode="reflect")
    np.testing.assert_array_equal(reflected(x, 2)[0, :, :, 0], wanted)
    with pytest.raises(ValueError, match="4 by 4 has no 4 pixels"):
        reflected(x, 4)


def test_zeros_between_pixels_make_a_transposed_convolution():
    rng = np.random.default_rng(2)
    x, k = rng.normal(size=(2, 3, 4, 2)), rng.normal(size=(3, 3, 2, 5))
    made = conv({"kernel": jnp.asarray(k)}, interleaved(jnp.asarray(x)), padding=1)
    wanted = np.zeros((2, 6, 8, 5))
    for i in range(3):
        for j in range(4):
            for a in range(3):  # the kernel, turned, is put down at each pixel
                for b in range(3):
                    at = 2 * i + 1 - a, 2 * j + 1 - b
                    if 0 <= at[0] < 6 and 0 <= at[1] < 8:
                        wanted[:, at[0], at[1]] += x[:, i, j] @ k[a, b]
    np.testing.assert_allclose(made, wanted, atol=1e-5)


def test_pictures_come_out_as_they_went_in():
    model = generator(**SMALL, depth=1)
    apply = jax.jit(model.apply, static_argnames="norm")
    params, stats = model.init(jax.random.key(0))
    outputs, after = apply(params, stats, {"image": IMAGES})
    made = outputs.hidden[-1]
    assert made.shape == IMAGES.shape
    assert 0 <= made.min() < made.max() <= 255
    assert outputs.features.shape == (2, model.width)
    assert after == stats == {}
    again, _ = apply(params, stats, {"image": IMAGES.astype(np.float32)})
    np.testing.assert_array_equal(again.hidden[-1], made)
    alone, _ = apply(params, stats, {"image": IMAGES[1:]}, norm="batch")
    np.testing.assert_allclose(alone.hidden[-1], made[1:], atol=1e-3)
    assert {path.split("/")[0] for path in flatten(params)} == {
        *("embed", "down", "blocks", "up", "last")
    }


def test_the_critic_judges_patches():
    model = patch_critic(**SMALL, depth=1)
    params, stats = model.init(jax.random.key(0))
    outputs, _ = model.apply(params, stats, {"image": IMAGES})
    assert outputs.logits.shape == (2, 4 * 4)
    far = IMAGES.copy()
    far[:, -1, -1] = 255 - far[:, -1, -1]  # normalised layers aside, no patch sees all
    first = {"blocks": {"0": params["blocks"]["0"]}, "last": params["last"]}
    first["last"]["conv"]["kernel"] = jnp.ones((4, 4, 3, 1))
    seen = [model.apply(first, {}, {"image": x})[0].logits[0] for x in (IMAGES, far)]
    changed = np.flatnonzero(np.asarray(seen[0] != seen[1]))
    assert 0 < len(changed) < len(seen[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: generator(size=30),
            "size 30 with 2 halvings: expected a multiple of 4",
        ),
        (lambda: patch_critic(size=16, depth=4), "size 16 with depth 4"),
        (
            lambda: generator(**SMALL).apply({}, {}, {"image": IMAGES[:, :8]}),
            r"\[2, 8, 12, 1\], expected \[B 12 12 1\]",
        ),
    ],
)
def test_sizes_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_both_networks_are_tllib_s(golden):
    """TLlib's ResnetGenerator and PatchGAN, their weights in order."""
    with np.load(golden / "translation.npz") as file:
        recorded = dict(file)
    images = recorded["images"].transpose(0, 2, 3, 1)
    params = filled(
        recorded,
        "generator",
        ("embed/conv", "down/0/conv", "down/1/conv"),
        *((f"blocks/{i}/conv_1", f"blocks/{i}/conv_2") for i in range(2)),
        ("up/0/conv", "up/1/conv", "last/conv"),
    )
    outputs, _ = generator(**SMALL, depth=2).apply(params, {}, {"image": images})
    wanted = recorded["generator/output"]
    np.testing.assert_allclose(outputs.hidden[-1] / 127.5 - 1, wanted, atol=2e-5)
    names = ("blocks/0/conv", "blocks/1/conv", "blocks/2/conv", "last/conv")
    params = filled(recorded, "critic", names)
    outputs, _ = patch_critic(**SMALL, depth=2).apply(params, {}, {"image": images})
    wanted = recorded["critic/output"].reshape(2, -1)
    np.testing.assert_allclose(outputs.logits, wanted, atol=2e-5)


def filled(recorded, network, *names):
    """A tree of the recorded convolutions, which stand in order."""
    params = {}
    for i, path in enumerate(path for own in names for path in own):
        *above, last = path.split("/")
        site = params
        for name in above:
            site = site.setdefault(name, {})
        keys = ("kernel", "bias")
        site[last] = {k: jnp.asarray(recorded[f"{network}/{i}/{k}"]) for k in keys}
    return params
