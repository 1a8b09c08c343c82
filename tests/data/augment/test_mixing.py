"""Batches mixed: rows followed by hand, padding kept out, labels that sum to one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.data import augment

KEY = jax.random.key(5)
MIXERS = {
    "mixup": jax.jit(augment.mixup(0.8, 4)),
    "cutmix": jax.jit(augment.cutmix(1.0, 4)),
    "both": jax.jit(augment.compose(augment.mixup(0.8, 4), augment.cutmix(1.0, 4))),
}


@pytest.fixture(params=MIXERS)
def mixer(request):
    return MIXERS[request.param]


def image_of(stream):
    return np.asarray(stream["inputs"]["image"], np.float32)


def test_labels_become_shares_that_sum_to_one(mixer, stream):
    for seed in range(5):
        labels = np.asarray(mixer(jax.random.key(seed), stream)["labels"])
        assert labels.shape == (6, 4)
        assert labels.dtype == np.float32
        assert labels.min() >= 0
        np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)


def test_padding_stays_and_is_never_mixed_in(mixer, stream):
    """Real rows hold 100 at most; padding, in the middle here, holds 255."""
    weight = jnp.asarray([1.0, 0.0, 0.5, 2.0, 0.0, 1.0])
    real = np.asarray(weight) > 0
    image = jnp.where(jnp.asarray(real)[:, None, None, None], 100, 255)
    image = jnp.broadcast_to(image, (6, 12, 10, 3)).astype(jnp.uint8)
    labels = jnp.where(weight > 0, stream["labels"] % 3, 3)
    padded = stream | {
        "inputs": {"image": image},
        "labels": labels,
        "weight": weight,
    }
    for seed in range(5):
        got = mixer(jax.random.key(seed), padded)
        np.testing.assert_array_equal(image_of(got), image)
        assert not np.asarray(got["labels"])[real, 3].any()
        np.testing.assert_array_equal(got["labels"][~real], np.eye(4)[[3, 3]])
        np.testing.assert_array_equal(got["weight"], weight)


def test_partners_are_random_permutations_of_the_real_rows():
    weight = jnp.asarray([0.0, 1.0, 1.0, 0.0, 3.0, 0.1])
    keys = jax.random.split(KEY, 200)
    found = np.asarray(jax.vmap(lambda key: augment.partners(key, weight))(keys))
    np.testing.assert_array_equal(np.sort(found, 1), np.tile(np.arange(6), (200, 1)))
    np.testing.assert_array_equal(found[:, [0, 3]], np.tile([0, 3], (200, 1)))
    assert len({tuple(row) for row in found}) == 24
    nobody = augment.partners(KEY, jnp.zeros(3))
    np.testing.assert_array_equal(nobody, [0, 1, 2])


def test_mixing_by_hand(stream):
    partner = jnp.asarray([1, 0, 3, 2, 4, 5])
    got = augment.mix(stream, partner, 0.75, 4)
    image, hot = image_of(stream), np.eye(4)[np.asarray(stream["labels"])]
    other = image[np.asarray(partner)]
    np.testing.assert_allclose(image_of(got), 0.75 * image + 0.25 * other, atol=1e-4)
    wanted = 0.75 * hot + 0.25 * hot[np.asarray(partner)]
    np.testing.assert_allclose(got["labels"], wanted, atol=1e-6)


def test_a_share_of_one_mixes_nothing(stream):
    partner = jnp.asarray([1, 0, 3, 2, 4, 5])
    nowhere = jnp.asarray([3, 4, 3, 9])
    for got in (
        augment.mix(stream, partner, 1.0, 4),
        augment.paste(stream, partner, nowhere, 4),
        augment.mixup(0.0, 4)(KEY, stream),
        augment.cutmix(0.0, 4)(KEY, stream),
    ):
        np.testing.assert_array_equal(image_of(got), image_of(stream))
        np.testing.assert_array_equal(got["labels"], np.eye(4)[stream["labels"]])


def test_pasting_by_hand(stream):
    partner, (left, top, right, bottom) = jnp.asarray([3, 0, 1, 2, 4, 5]), (2, 5, 8, 9)
    got = augment.paste(stream, partner, jnp.asarray([left, top, right, bottom]), 4)
    wanted, other = image_of(stream).copy(), image_of(stream)[np.asarray(partner)]
    wanted[:, top:bottom, left:right] = other[:, top:bottom, left:right]
    np.testing.assert_array_equal(image_of(got), wanted)
    hot, share = np.eye(4)[np.asarray(stream["labels"])], 24 / 120
    labels = (1 - share) * hot + share * hot[np.asarray(partner)]
    np.testing.assert_allclose(got["labels"], labels, atol=1e-6)


def test_cut_boxes_have_their_area_unless_an_edge_cuts_them():
    draw = jax.vmap(lambda key: augment.cut_box(key, 0.75, (40, 60)))
    left, top, right, bottom = np.asarray(draw(jax.random.split(KEY, 200))).T
    assert min(left.min(), top.min()) >= 0
    assert right.max() <= 60
    assert bottom.max() <= 40
    inside = (left > 0) & (right < 60) & (top > 0) & (bottom < 40)
    assert 20 < inside.sum() < 180
    assert set(right[inside] - left[inside]) == {30}
    assert set(bottom[inside] - top[inside]) == {20}


def test_shares_are_kept_and_a_label_that_names_no_class_is_nan(stream):
    shares = augment.soft_labels(stream["labels"], 4)
    np.testing.assert_array_equal(augment.soft_labels(shares, 4), shares)
    wrong = np.asarray(augment.soft_labels(jnp.asarray([0, 4, -1]), 4))
    np.testing.assert_array_equal(np.isnan(wrong).all(1), [False, True, True])
    with pytest.raises(ValueError, match=r"float32 \[6, 4\], expected .* \[B 5\]"):
        augment.mixup(0.4, 5)(KEY, stream | {"labels": shares})
    with pytest.raises(ValueError, match=r"float32 \[6\], expected int \[B\]"):
        augment.cutmix(1.0, 4)(KEY, stream | {"labels": jnp.ones(6)})
