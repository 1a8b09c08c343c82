"""Augmentation on the device: pure functions of a key, `apply(key, stream) -> stream`.

Pictures are uint8 or float32 in 0..255 [B H W C] and come out float32, same shape.
"""

from collections.abc import Callable, Mapping

from tl_jax.data.augment.base import compose, per_image
from tl_jax.data.augment.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    autocontrast,
    equalize,
    grey,
    posterize,
    sharpness,
    solarize,
)
from tl_jax.data.augment.geometry import (
    affine,
    crop_at,
    crop_resize,
    cutout_at,
    flip,
    rotate,
    shear_x,
    shear_y,
    translate,
)
from tl_jax.data.augment.mixing import (
    cut_box,
    cutmix,
    mix,
    mixup,
    partners,
    paste,
    soft_labels,
)
from tl_jax.data.augment.policy import OPERATIONS, operate, rand_augment
from tl_jax.data.augment.single import (
    colour_jitter,
    cutout,
    horizontal_flip,
    random_box,
    random_crop,
    random_resized_crop,
)
from tl_jax.types import Augment

AUGMENTS: Mapping[str, Callable[..., Augment]] = {
    "random_resized_crop": random_resized_crop,
    "horizontal_flip": horizontal_flip,
    "random_crop": random_crop,
    "colour_jitter": colour_jitter,
    "cutout": cutout,
    "rand_augment": rand_augment,
    "mixup": mixup,
    "cutmix": cutmix,
}
"""Name -> constructor, for those who read names."""

__all__ = [
    "AUGMENTS",
    "OPERATIONS",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "affine",
    "autocontrast",
    "colour_jitter",
    "compose",
    "crop_at",
    "crop_resize",
    "cut_box",
    "cutmix",
    "cutout",
    "cutout_at",
    "equalize",
    "flip",
    "grey",
    "horizontal_flip",
    "mix",
    "mixup",
    "operate",
    "partners",
    "paste",
    "per_image",
    "posterize",
    "rand_augment",
    "random_box",
    "random_crop",
    "random_resized_crop",
    "rotate",
    "sharpness",
    "shear_x",
    "shear_y",
    "soft_labels",
    "solarize",
    "translate",
]
