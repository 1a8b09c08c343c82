"""Laws of what is drawn: keys, positions, compiled programs, and each method's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.data import augment
from tl_jax.data.augment import AUGMENTS, OPERATIONS

KEY = jax.random.key(3)
SETTINGS = {
    "random_resized_crop": {},
    "horizontal_flip": {},
    "random_crop": {"padding": 2},
    "colour_jitter": dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "cutout": {"size": 4},
    "rand_augment": {},
    "mixup": dict(alpha=0.4, classes=4),
    "cutmix": dict(alpha=1.0, classes=4),
    "random_background": dict(how="difference"),
    "random_blur": {"most": 3.0},
    "random_noise": {},
    "random_texture": {},
    "domain_randomisation": {},
}


def image_of(stream):
    return np.asarray(stream["inputs"]["image"])


def rows_of(stream, rows):
    return jax.tree.map(lambda leaf: leaf[:rows], stream)


def test_every_constructor_is_tested():
    assert SETTINGS.keys() == AUGMENTS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_laws_of_all(name, stream):
    """Shape, range and key, in a compiled map over two keys; other entries stay."""
    apply = jax.jit(jax.vmap(AUGMENTS[name](**SETTINGS[name]), (0, None)))
    got = apply(jnp.stack([KEY, jax.random.key(4)]), stream)
    image = image_of(got)
    assert image.dtype == np.float32
    assert image.shape == (2, 6, 12, 10, 3)
    assert image.min() >= 0
    assert image.max() <= 255
    assert not np.allclose(image[0], image_of(stream), atol=1)
    assert not np.allclose(image[0], image[1], atol=1)
    again = apply(jnp.stack([jax.random.key(4), KEY]), stream)
    np.testing.assert_allclose(image_of(again)[::-1], image, atol=1e-3)
    assert got.keys() == stream.keys()
    for same in ("weight", "index"):
        np.testing.assert_array_equal(got[same][0], stream[same])
    np.testing.assert_array_equal(got["inputs"]["mask"][0], stream["inputs"]["mask"])


@pytest.mark.parametrize("name", ["horizontal_flip", "random_crop", "cutout"])
def test_compiled_programs_give_the_same(name, stream):
    apply = AUGMENTS[name](**SETTINGS[name])
    eager, compiled = apply(KEY, stream), jax.jit(apply)(KEY, stream)
    np.testing.assert_allclose(image_of(compiled), image_of(eager), atol=1e-3)
    np.testing.assert_allclose(compiled["labels"], eager["labels"], atol=1e-6)


def test_bytes_and_floats_are_one_picture(stream):
    apply, image = augment.random_crop(2), stream["inputs"]["image"]
    for dtype in (jnp.float32, jnp.bfloat16):
        inputs = stream["inputs"] | {"image": image.astype(dtype)}
        got = apply(KEY, stream | {"inputs": inputs})
        np.testing.assert_array_equal(image_of(got), image_of(apply(KEY, stream)))


def test_a_picture_depends_on_its_position_alone(stream):
    """So a batch split over devices, padding and all, gives the same pictures."""
    apply = augment.compose(
        augment.random_resized_crop(),
        augment.horizontal_flip(),
        augment.colour_jitter(brightness=0.4),
    )

    @jax.jit
    def both(key, stream):
        return apply(key, stream), apply(key, rows_of(stream, 4))

    whole, part = both(KEY, stream)
    np.testing.assert_allclose(image_of(whole)[:4], image_of(part), atol=1e-3)
    np.testing.assert_array_equal(whole["labels"], stream["labels"])


def test_a_composition_is_its_parts_in_order(stream):
    crop, flip = augment.random_crop(2), augment.horizontal_flip(1.0)
    both = augment.compose(crop, flip)(KEY, stream)
    cropped = image_of(augment.compose(crop)(KEY, stream))
    np.testing.assert_array_equal(image_of(both), cropped[:, :, ::-1])
    longer = augment.compose(crop, flip, augment.cutout(1, fill=7.0))(KEY, stream)
    changed = (image_of(longer) != image_of(both)).any(-1)
    assert changed.sum((1, 2)).max() <= 1
    twice = image_of(augment.compose(crop, crop)(KEY, stream))
    assert not np.array_equal(
        twice, image_of(crop(KEY, augment.compose(crop)(KEY, stream)))
    )
    assert augment.compose()(KEY, stream) is stream


def test_settings_that_change_nothing_change_nothing(stream):
    nothing = augment.compose(
        augment.horizontal_flip(0.0),
        augment.random_crop(0),
        augment.colour_jitter(),
        augment.rand_augment(layers=0),
        augment.random_resized_crop(scale=(1, 1), ratio=(10 / 12, 10 / 12)),
    )
    got = jax.jit(nothing)(KEY, stream)
    np.testing.assert_allclose(image_of(got), image_of(stream), atol=1e-3)


def test_a_certain_flip_is_its_own_inverse(stream):
    flip, image = augment.horizontal_flip(1.0), image_of(stream)
    np.testing.assert_array_equal(image_of(flip(KEY, stream)), image[:, :, ::-1])
    np.testing.assert_array_equal(image_of(flip(KEY, flip(KEY, stream))), image)


def test_half_of_many_are_flipped():
    ramp = jnp.broadcast_to(jnp.arange(2.0)[:, None], (400, 1, 2, 1))
    got = augment.horizontal_flip(0.25)(KEY, {"inputs": {"image": ramp}})
    assert 0.18 < image_of(got)[:, 0, 0, 0].mean() < 0.32


def boxes(size, count, **ranges):
    draw = jax.jit(jax.vmap(lambda key: augment.random_box(key, size, **ranges)))
    return np.asarray(draw(jax.random.split(KEY, count)))


def loop_box(rng, height, width):
    """(area, ratio, left, top) of the first of ten tries that fits, as shares."""
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        tall, broad = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
        if tall <= height and broad <= width:
            top, left = (
                rng.integers(0, height - tall + 1),
                rng.integers(0, width - broad + 1),
            )
            return tall * broad / (height * width), broad / tall, left, top
    raise AssertionError("ten tries of 60x80 fail once in 10,000")


def test_boxes_are_distributed_as_those_of_a_loop():
    left, top, right, bottom = boxes((60, 80), 3000).T
    assert min(left.min(), top.min()) >= 0
    assert right.max() <= 80
    assert bottom.max() <= 60
    tall, broad = bottom - top, right - left
    found = np.stack([tall * broad / 4800, broad / tall, left, top])
    rng = np.random.default_rng(0)
    wanted = np.stack([loop_box(rng, 60, 80) for _ in range(3000)], 1)
    error = (found.var(1) / 3000 + wanted.var(1) / 3000) ** 0.5
    assert (np.abs(found.mean(1) - wanted.mean(1)) < 4 * error).all()
    quantiles = np.linspace(0.02, 0.98, 9)
    for ours, theirs in zip(found, wanted, strict=True):
        gap = np.quantile(ours, quantiles) - np.quantile(theirs, quantiles)
        assert np.abs(gap).max() < 0.06 * np.ptp(theirs)


@pytest.mark.parametrize(
    "size, box", [((10, 100), (43, 0, 56, 10)), ((100, 10), (0, 43, 10, 56))]
)
def test_boxes_that_never_fit_fall_back_to_the_middle(size, box):
    """No box of 90 % of the area fits: the middle, 13 = round(10 * 4 / 3) long."""
    found = boxes(size, 3, scale=(0.9, 1.0))
    np.testing.assert_array_equal(found, np.tile(box, (3, 1)))


def test_jitter_draws_factors_in_their_range():
    """Of a grey picture brightness alone shows: its factor can be read off."""
    grey = {"inputs": {"image": jnp.full((300, 1, 1, 3), 100.0)}}
    got = image_of(augment.colour_jitter(brightness=0.4, saturation=0.3)(KEY, grey))
    factors = got[:, 0, 0, 0] / 100
    assert 0.6 <= factors.min() < 0.65
    assert 1.35 < factors.max() <= 1.4


def test_jitter_takes_both_orders():
    """Of pixels 0 and 200, where contrast falls (the first gets brighter) the sum is
    min(200 f, 255) of brightness before it, up to 300 of brightness after it."""
    pixels = jnp.asarray([0.0, 200.0]).reshape(1, 1, 2, 1)
    many = {"inputs": {"image": jnp.broadcast_to(pixels, (300, 1, 2, 1))}}
    got = image_of(augment.colour_jitter(brightness=0.5, contrast=1.0)(KEY, many))
    dark, light = got[:, 0, :, 0].T
    total = (dark + light)[dark > 0]
    before, after = (total > 256.5), (total >= 255) & (total <= 256)
    assert 100 < len(total) < 200
    assert before.sum() > 8
    assert after.sum() > 8


def test_rand_augment_draws_all_fourteen_with_torchvisions_magnitudes(photo):
    image, share = jnp.asarray(photo, jnp.float32), 9 / 30
    height, width, _ = photo.shape
    right, down = (int(share * 150 / 331 * side) for side in (width, height))
    by_hand = {
        "identity": lambda s: image,
        "shear_x": lambda s: augment.shear_x(image, s * 0.09),
        "shear_y": lambda s: augment.shear_y(image, s * 0.09),
        "translate_x": lambda s: augment.translate(image, s * right, 0),
        "translate_y": lambda s: augment.translate(image, 0, s * down),
        "rotate": lambda s: augment.rotate(image, s * 9.0),
        "brightness": lambda s: augment.adjust_brightness(image, 1 + s * 0.27),
        "colour": lambda s: augment.adjust_saturation(image, 1 + s * 0.27),
        "contrast": lambda s: augment.adjust_contrast(image, 1 + s * 0.27),
        "sharpness": lambda s: augment.sharpness(image, 1 + s * 0.27),
        "posterize": lambda s: augment.posterize(image, 7),
        "solarize": lambda s: augment.solarize(image, 178.5),
        "autocontrast": lambda s: augment.autocontrast(image),
        "equalize": lambda s: augment.equalize(image),
    }
    assert tuple(by_hand) == OPERATIONS
    operate = jax.jit(lambda kind, sign: augment.operate(image, kind, sign, share))
    for kind, name in enumerate(OPERATIONS):
        for sign in (-1.0, 1.0):
            got, wanted = operate(kind, sign), by_hand[name](sign)
            np.testing.assert_allclose(got, wanted, atol=1e-2, err_msg=name)


def test_bad_settings_raise(stream):
    for make, words in (
        (lambda: augment.horizontal_flip(1.5), "p is 1.5, expected 0..1"),
        (lambda: augment.random_crop(-1), "padding is -1, expected a whole number"),
        (lambda: augment.cutout(2.5), "size is 2.5"),
        (lambda: augment.colour_jitter(hue=0.7), "hue is 0.7, expected 0..0.5"),
        (lambda: augment.colour_jitter(contrast=-1), "contrast is -1"),
        (lambda: augment.random_resized_crop(scale=(0, 1)), "scale is .* <= 1"),
        (lambda: augment.random_resized_crop(ratio=(2, 1)), "ratio is"),
        (lambda: augment.random_resized_crop(method="linear"), "'linear'.*bilinear"),
        (lambda: augment.rand_augment(magnitude=31), r"magnitude is 31.*0\.\.30"),
        (lambda: augment.rand_augment(method="bicubic"), "'bicubic'"),
        (lambda: augment.mixup(-1, 4), "alpha is -1"),
        (lambda: augment.cutmix(1.0, 0), "classes is 0"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    flip, image = augment.horizontal_flip(), stream["inputs"]["image"]
    with pytest.raises(ValueError, match="input 'image' .* nearest: images"):
        flip(KEY, stream | {"inputs": {"images": 0}})
    with pytest.raises(ValueError, match=r"image is int32 \[6, 12, 10, 3\]"):
        flip(KEY, stream | {"inputs": {"image": image.astype(jnp.int32)}})
    with pytest.raises(ValueError, match=r"image is uint8 \[12, 10, 3\]"):
        flip(KEY, stream | {"inputs": {"image": image[0]}})
