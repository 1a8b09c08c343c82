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
from tl_jax.data.augment.randomise import (
    domain_randomisation,
    random_background,
    random_blur,
    random_noise,
    random_pattern,
    random_texture,
)
from tl_jax.data.augment.single import (
    colour_jitter,
    cutout,
    horizontal_flip,
    random_box,
    random_crop,
    random_resized_crop,
)
from tl_jax.data.augment.texture import (
    add_noise,
    checks,
    clouds,
    cover,
    gaussian_blur,
    near_level,
    waves,
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
    "random_background": random_background,
    "random_blur": random_blur,
    "random_noise": random_noise,
    "random_texture": random_texture,
    "domain_randomisation": domain_randomisation,
}
"""Name -> constructor, for those who read names."""

__all__ = [
    "AUGMENTS",
    "OPERATIONS",
    "add_noise",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "affine",
    "autocontrast",
    "checks",
    "clouds",
    "colour_jitter",
    "compose",
    "cover",
    "crop_at",
    "crop_resize",
    "cut_box",
    "cutmix",
    "cutout",
    "cutout_at",
    "domain_randomisation",
    "equalize",
    "flip",
    "gaussian_blur",
    "grey",
    "horizontal_flip",
    "mix",
    "mixup",
    "near_level",
    "operate",
    "partners",
    "paste",
    "per_image",
    "posterize",
    "rand_augment",
    "random_background",
    "random_blur",
    "random_box",
    "random_crop",
    "random_noise",
    "random_pattern",
    "random_resized_crop",
    "random_texture",
    "rotate",
    "sharpness",
    "shear_x",
    "shear_y",
    "soft_labels",
    "solarize",
    "translate",
    "waves",
]
