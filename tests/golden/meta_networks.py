"""Networks as torch's users write them, with parameters found by our paths."""

from collections.abc import Callable

from meta_arrays import Arrays
from torch import Tensor, nn


class Places:
    """A torch network's parameters by our paths, to fill it and to read its gradient.

    A layout is a pair of permutations, from ours to torch's and back.
    """

    def __init__(self, sites: dict[str, nn.Module], filters: int = 0) -> None:
        self.places: dict[str, tuple[nn.Parameter, Callable, Callable]] = {}
        for at, layer in sites.items():
            name, there, back = "kernel", Tensor.t, Tensor.t
            if isinstance(layer, nn.Conv2d):
                there, back = _to_conv, _from_conv
            elif isinstance(layer, nn.BatchNorm2d):
                name, there, back = "scale", _same, _same
            elif filters:
                there, back = _to_flat(filters), _from_flat(filters)
            self.places[f"{at}/{name}"] = layer.weight, there, back
            self.places[f"{at}/bias"] = layer.bias, _same, _same

    def fill(self, weights: dict[str, Tensor]) -> None:
        for name, (place, there, _) in self.places.items():
            place.data = there(weights[name]).clone()

    def read(self, values: Callable[[nn.Parameter], Tensor]) -> Arrays:
        found = {n: back(values(p)) for n, (p, _, back) in self.places.items()}
        return {name: value.detach().numpy() for name, value in found.items()}


def _same(x: Tensor) -> Tensor:
    return x


def _to_conv(x: Tensor) -> Tensor:
    return x.permute(3, 2, 0, 1)


def _from_conv(x: Tensor) -> Tensor:
    return x.permute(2, 3, 1, 0)


def _to_flat(filters: int) -> Callable[[Tensor], Tensor]:
    """A head's kernel over [2 2 D] to one over [D 2 2]."""
    return lambda x: x.reshape(2, 2, filters, -1).permute(3, 2, 0, 1).flatten(1)


def _from_flat(filters: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.reshape(len(x), filters, 2, 2).permute(2, 3, 1, 0).flatten(0, 2)


def mlp_network(activation: str, width: int) -> tuple[nn.Module, Places]:
    """The MLP as torch's users write it; its body and head are apart for ANIL."""
    kind = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    layers = [nn.Linear(1, width), kind(), nn.Linear(width, width), kind()]
    head = nn.Linear(width, 1)
    sites = {"blocks/0": layers[0], "blocks/1": layers[2], "head": head}
    return nn.Sequential(nn.Sequential(*layers), head), Places(sites)


def conv4_network(filters: int, ways: int) -> tuple[nn.Module, Places]:
    """The Conv4 for images [N 1 20 20]."""
    layers, sites = [], {}
    for i in range(4):
        conv = nn.Conv2d(filters if i else 1, filters, 3, 2, 1)
        norm = nn.BatchNorm2d(filters, track_running_stats=False)
        layers += [conv, norm, nn.ReLU()]
        sites |= {f"blocks/{i}/conv": conv, f"blocks/{i}/norm": norm}
    sites["head"] = nn.Linear(4 * filters, ways)
    network = nn.Sequential(*layers, nn.Flatten(), sites["head"])
    return network, Places(sites, filters)
