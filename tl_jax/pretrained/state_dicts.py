"""Files of weights that come without a config: the user says what they are.

Such a file holds names and numbers alone. Each architecture stands here with the
config that describes it elsewhere and with the names of its layers: torchvision's for
ResNets, MobileNetV2 and SqueezeNets, those of the PyTorch conversion for
EfficientNet-lite, Caffe's for the SqueezeNet of the package ndf.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from tl_jax.models.resnet import DEPTHS, REDUCTION
from tl_jax.pretrained.family import Recipe
from tl_jax.pretrained.files import did_you_mean
from tl_jax.pretrained.inverted import LIGHT, MOBILE, ends_of
from tl_jax.pretrained.inverted import rows_of as inverted_rows
from tl_jax.pretrained.names import Row, Shape
from tl_jax.pretrained.preprocess import Preprocess
from tl_jax.pretrained.resnet import rows_of
from tl_jax.pretrained.squeezenet import CAFFE, CLASSES, numpy_rows
from tl_jax.pretrained.vision import CROPPED, HEAD, conv_layout, pipeline, unit

PARALLEL = "module"
"""What a model trained on many devices has before its names."""
COUNTER = "counts the batches of a norm, by torchvision's name"


class Plain(NamedTuple):
    """An architecture whose file says only names and numbers."""

    config: Mapping[str, Any]
    """As transformers would have it; the classes are counted in the file."""
    head: str
    """The file's output layer."""
    rows: Callable[[Mapping[str, Any], Mapping[str, Shape]], list[Row]] | None = None
    """(config, leaves) -> names; None where they are those of the config's family."""
    options: Mapping[str, Any] = {}
    """What the config does not say, where the user doesn't either."""
    preprocess: Preprocess = pipeline((224, 224), **CROPPED)
    """Where names are given: torchvision's pipeline, a short edge of 256 pixels,
    bilinear, and the middle 224 of both edges; or the file's own."""


def _resnet_rows(config: Mapping[str, Any], leaves: Collection[str]) -> list[Row]:
    def modules(stage: int, block: int, layer: int | str) -> tuple[str, str]:
        at = f"layer{stage + 1}.{block}"
        if layer == "shortcut":
            return f"{at}.downsample.0", f"{at}.downsample.1"
        return f"{at}.conv{layer}", f"{at}.bn{layer}"

    rows = unit(("embed/conv", "embed/norm"), ("conv1", "bn1"))
    rows += rows_of(config["depths"], leaves, modules)
    return rows + ([("head", "fc", "dense")] if "head/kernel" in leaves else [])


def _mobilenet_rows(config: Mapping[str, Any], leaves: Collection[str]) -> list[Row]:
    def modules(block: int, layer: str) -> tuple[str, str]:
        at, place = f"features.{block + 1}.conv", int(block > 0)
        if layer == "project":
            return f"{at}.{place + 1}", f"{at}.{place + 2}"
        inside = f"{at}.{place if layer == 'depthwise' else 0}"
        return f"{inside}.0", f"{inside}.1"

    blocks = inverted_rows(leaves, modules)
    last = len({row[0].split("/")[1] for row in blocks}) + 1
    stem = ("features.0.0", "features.0.1")
    neck = (f"features.{last}.0", f"features.{last}.1")
    return ends_of(leaves, stem, neck, "classifier.1") + blocks


def _resnet(depth: int) -> Plain:
    kind, stages = DEPTHS[depth]
    grown = REDUCTION if kind == "bottleneck" else 1
    config = dict(
        model_type="resnet",
        architectures=[f"ResNet{HEAD}"],
        layer_type=kind,
        depths=list(stages),
        hidden_sizes=[64 * grown * 2**i for i in range(len(stages))],
    )
    return Plain(config, "fc", _resnet_rows)


MOBILENET = dict(
    model_type="mobilenet_v2",
    architectures=[f"{MOBILE}{HEAD}"],
    classifier_dropout_prob=0.2,
    layer_norm_eps=1e-5,
    tf_padding=False,
)
SQUEEZE = dict(
    model_type="squeezenet",
    architectures=[f"{CLASSES}{HEAD}"],
    classifier="convolution",
)
NDF = dict(version="1.1", padding="same", ceil_mode=False, classifier="linear")
"""How ndf 0.1.4 runs the weights. Their authors' network in Caffe is torchvision's 1.1:
no padding, pools that keep a remainder, and a ReLU behind the classifier."""
LITE = dict(model_type="efficientnet_lite", architectures=[f"{LIGHT}{HEAD}"], number=0)
ARCHITECTURES: Mapping[str, Plain] = {
    **{f"resnet{depth}": _resnet(depth) for depth in DEPTHS},
    "mobilenet_v2": Plain(
        MOBILENET, "classifier.1", _mobilenet_rows, {"momentum": 0.9}
    ),
    "efficientnet_lite0": Plain(LITE, "_fc"),
    "squeezenet1_0": Plain(SQUEEZE | dict(version="1.0"), "classifier.1"),
    "squeezenet1_1": Plain(SQUEEZE | dict(version="1.1"), "classifier.1"),
    "squeezenet1_1_ndf": Plain(SQUEEZE | NDF, "conv10", numpy_rows, preprocess=CAFFE),
}
"""Name -> what it is."""


def chosen(architecture: str | None, where: str) -> Plain:
    """The architecture of a file; raises ValueError with the known names."""
    if architecture is None:
        raise ValueError(
            f"{where} is a file of weights, which does not say what model they are "
            f"for: give architecture=, one of {', '.join(ARCHITECTURES)}; or give its "
            "folder, if that has a config.json"
        )
    if architecture not in ARCHITECTURES:
        hint = did_you_mean(str(architecture), ARCHITECTURES)
        raise ValueError(f"architecture={architecture!r}; {hint}")
    return ARCHITECTURES[architecture]


def config_of(plain: Plain, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """The config, with as many classes as the file's output layer has."""
    name = f"{plain.head}.weight"
    shape = shapes.get(name, shapes.get(f"{PARALLEL}.{name}", ()))
    return dict(plain.config) | {"num_labels": shape[0] if shape else 1000}


def renamed(plain: Plain, config: Mapping[str, Any], recipe: Recipe) -> Recipe:
    """The recipe of the config with the names and the pipeline of the file."""
    if plain.rows is None:
        return recipe
    rows, head = plain.rows(config, recipe.leaves), recipe.options["head"]
    module = plain.head.split(".")[0]
    return recipe._replace(
        layout=conv_layout(rows, PARALLEL, head, module, COUNTER),
        preprocess=plain.preprocess,
    )
