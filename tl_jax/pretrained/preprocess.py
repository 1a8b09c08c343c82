"""The image pipeline that travels with the weights.

Two halves: `fit` resizes and crops one picture on the host as the original pipeline
did, and the call normalises a batch on the device, so that bytes travel there.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.pretrained.family import Unsupported
from tl_jax.pretrained.files import did_you_mean, read_json

FILE = "preprocessor_config.json"
RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters in the order of their numbers."""
ON_DEVICE = {"nearest": "nearest", "lanczos": "lanczos3", "bicubic": "cubic"}
"""Filter -> the method of `jax.image`; linear for the others."""
WARPED = 384
"""From this size on, a pipeline with `crop_pct` warps and does not crop."""


@dataclass(frozen=True)
class Preprocess:
    """Pictures as a model was trained to see them.

    y = (scale x - mean) / std, x in 0..255, behind `fit`. Change a field by
    `dataclasses.replace`.
    """

    size: tuple[int, int] = (224, 224)
    """(height, width) that the model is given."""
    resize: int | tuple[int, int] | None = (224, 224)
    """A new length of the short edge, a (height, width), or None: as it comes."""
    crop: tuple[int, int] | None = None
    """(height, width) cut from the middle; what lies outside is 0."""
    resample: str = "bilinear"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    scale: float = 1 / 255
    order: Literal["RGB", "BGR"] = "RGB"
    channels: int = 3
    fixed: bool = True
    """True where the model takes `size` alone: the call then resizes what differs."""

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Normalise `image`, on the device and within a compiled function.

        image uint8 or float in 0..255, [B H W C] -> float32 [B H W C], [B S S C] for
        a `fixed` size; one channel stands for all. Other inputs pass unchanged.
        """
        image = jnp.asarray(inputs["image"])
        if image.ndim != 4 or image.shape[-1] not in (1, self.channels):
            raise ValueError(
                f"image is {list(image.shape)}, expected [B H W {self.channels}]"
            )
        x = image.astype(jnp.float32)
        if self.fixed and x.shape[1:3] != self.size:
            shape = (len(x), *self.size, x.shape[3])
            x = jax.image.resize(x, shape, ON_DEVICE.get(self.resample, "linear"))
            x = jnp.clip(x, 0, 255)
        x = jnp.broadcast_to(x, (*x.shape[:3], self.channels))
        if self.order == "BGR":
            x = x[..., ::-1]
        y = (x * self.scale - jnp.asarray(self.mean)) / jnp.asarray(self.std)
        return {**inputs, "image": y}

    def fit(self, image: Any) -> np.ndarray:
        """Resize and crop one picture as the original pipeline does.

        uint8 [H W], [H W 1], [H W 3] or [H W 4], or a Pillow image -> uint8 [H W C].
        """
        picture = self._picture(image)
        if self.resize is not None:
            tall, broad = target(picture.height, picture.width, self.resize)
            number = RESAMPLE.index(self.resample)
            picture = picture.resize((broad, tall), resample=number)
        pixels = np.array(picture).reshape(picture.height, picture.width, -1)
        return pixels if self.crop is None else center(pixels, self.crop)

    def _picture(self, image: Any) -> Any:
        from PIL import Image

        if not isinstance(image, Image.Image):
            image = np.asarray(image)
            shown = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
            if image.dtype != np.uint8 or not shown:
                raise ValueError(
                    f"image is {image.dtype} {list(image.shape)}, expected uint8 "
                    f"[H W {self.channels}] or a Pillow image"
                )
            grey = image.ndim == 3 and image.shape[2] == 1
            image = Image.fromarray(image[..., 0] if grey else image)
        return image.convert("RGB" if self.channels == 3 else "L")


def target(tall: int, broad: int, resize: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) after a resize; the long edge of a short one is cut to whole."""
    if not isinstance(resize, int):
        return resize
    if broad <= tall:
        return int(resize * tall / broad), resize
    return resize, int(resize * broad / tall)


def center(pixels: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """The middle of a picture, black where it is too small. [H W C] -> [h w C]."""
    found = np.zeros((*crop, pixels.shape[2]), pixels.dtype)
    source, goal = [], []
    for have, want in zip(pixels.shape, crop, strict=False):
        start = (have - want) // 2 if have >= want else -((want - have + 1) // 2)
        source.append(slice(max(start, 0), max(start, 0) + min(have, want)))
        goal.append(slice(max(-start, 0), max(-start, 0) + min(have, want)))
    found[goal[0], goal[1]] = pixels[source[0], source[1]]
    return found


def load_preprocess(folder: Path, default: Preprocess) -> Preprocess:
    """The pipeline of a folder's preprocessor_config.json, `default` without one.

    Raises `Unsupported` for a step that is not known here.
    """
    path = folder / FILE
    return from_config(read_json(path), default) if path.is_file() else default


def save_preprocess(made: Path, folder: Path, preprocess: Preprocess) -> None:
    """Write preprocessor_config.json; the folder's own to the byte if it says that."""
    old, new = folder / FILE, made / FILE
    if old.is_file() and from_config(read_json(old), preprocess) == preprocess:
        shutil.copyfile(old, new)
        return
    text = json.dumps(to_config(preprocess), indent=2) + "\n"
    new.write_text(text, encoding="utf-8")


def from_config(config: Mapping[str, Any], default: Preprocess) -> Preprocess:
    """A pipeline from the fields of preprocessor_config.json.

    What the file does not say is as transformers has it: both halves are on.
    """
    for field in ("do_pad", "rescale_offset", "do_reduce_labels"):
        if config.get(field):
            raise Unsupported(f"{FILE}: {field} is {config[field]!r}, not supported")
    resize, crop = _sizes(config, default)
    rescales, normalises = config.get("do_rescale", True), "image_mean" in config
    normalises = normalises and config.get("do_normalize", True)
    many = default.channels
    final = crop or resize
    return Preprocess(
        size=final if isinstance(final, tuple) else default.size,
        resize=resize,
        crop=crop,
        resample=_filter(config.get("resample", 2)),
        mean=_numbers(config, "image_mean", many) if normalises else (0.0,) * many,
        std=_numbers(config, "image_std", many) if normalises else (1.0,) * many,
        scale=float(config.get("rescale_factor", 1 / 255)) if rescales else 1.0,
        order="BGR" if config.get("do_flip_channel_order") else "RGB",
        channels=many,
        fixed=default.fixed,
    )


def to_config(preprocess: Preprocess) -> dict[str, Any]:
    """The fields of preprocessor_config.json, which transformers reads too."""
    resize, crop = preprocess.resize, preprocess.crop
    size = resize if resize is not None else preprocess.size
    edges = {"shortest_edge": size} if isinstance(size, int) else _edges(size)
    cropping = {} if crop is None else {"crop_size": _edges(crop)}
    flipped = {"do_flip_channel_order": True} if preprocess.order == "BGR" else {}
    return {
        "do_center_crop": crop is not None,
        **cropping,
        **flipped,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": resize is not None,
        "image_mean": list(preprocess.mean),
        "image_processor_type": "ViTImageProcessor",
        "image_std": list(preprocess.std),
        "resample": RESAMPLE.index(preprocess.resample),
        "rescale_factor": preprocess.scale,
        "size": edges,
    }


def _edges(size: tuple[int, int]) -> dict[str, int]:
    return {"height": size[0], "width": size[1]}


Edges = int | tuple[int, int] | None


def _sizes(config: Mapping[str, Any], default: Preprocess) -> tuple[Edges, Edges]:
    """(resize, crop) of a config."""
    resize = _size(config, "size") if config.get("do_resize", True) else None
    cropping = config.get("do_center_crop", "crop_size" in config)
    crop = _size(config, "crop_size") if cropping else None
    crop = (crop, crop) if isinstance(crop, int) else crop
    kind = config.get("image_processor_type", config.get("feature_extractor_type", ""))
    if isinstance(resize, int) and "crop_pct" in config:
        if resize >= WARPED:
            return (resize, resize), crop
        return int(resize / config["crop_pct"]), (resize, resize)
    plain = isinstance(config.get("size"), int)
    if plain and resize is not None and str(kind).startswith("ViT"):
        resize = (resize, resize)
    return resize, crop


def _size(config: Mapping[str, Any], field: str) -> Edges:
    """A number, {"shortest_edge"} or {"height", "width"}."""
    found = config.get(field, 224)
    given = list(found.values()) if isinstance(found, dict) else [found]
    if all(type(n) is int and n > 0 for n in given):
        if isinstance(found, int):
            return found
        if set(found) == {"shortest_edge"}:
            return found["shortest_edge"]
        if set(found) == {"height", "width"}:
            return found["height"], found["width"]
    raise Unsupported(
        f"{FILE}: {field} is {found!r}, supported is a whole number, shortest_edge, or "
        "height and width"
    )


def _filter(number: Any) -> str:
    if isinstance(number, bool) or number not in range(len(RESAMPLE)):
        known = did_you_mean(str(number), range(len(RESAMPLE)))
        raise Unsupported(f"{FILE}: resample is {number!r}; {known}")
    return RESAMPLE[number]


def _numbers(config: Mapping[str, Any], field: str, count: int) -> tuple[float, ...]:
    found = config.get(field)
    found = [found] * count if isinstance(found, int | float) else found
    real = isinstance(found, list) and all(isinstance(n, int | float) for n in found)
    if not real or len(found) != count:
        raise Unsupported(f"{FILE}: {field} is {found!r}, expected {count} numbers")
    return tuple(float(n) for n in found)
