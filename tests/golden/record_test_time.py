"""Record what the authors' Tent, SHOT and T3A compute on tiny networks.

    PYTHONPATH=tent:SHOT/digit:T3A python tests/golden/record_test_time.py

over checkouts of DequanWang/tent (e9e926a), tim-learn/SHOT (f7d555a) and
matsuolab/T3A (ff8cde5). Needs torch and scipy; what else they import is not used and
stands empty. Writes `test_time.npz`:

tent/{params,stats}/<path>: a Conv4 of 2 blocks; tent/image [3 B 8 8 1]; tent/logits
[3 B C] of its forward passes, one a batch; tent/after/<path> after three of SGD
shot/{features,logits,labels}: rows, and `obtain_label`; shot/{entropy,diversity}
t3a/{kernel,bias,features,logits}: [4 B D] batches, logits after each, filter_K 3
"""

import sys
import types
from argparse import Namespace
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
RATE = 0.5


def stand_in(*names: str) -> None:
    """Empty modules for what the authors' files import and these lines don't use."""
    for name in names:
        module = types.ModuleType(name)
        module.__getattr__ = lambda attribute: None
        sys.modules[name] = module


class Conv4(nn.Module):
    """Convolution, batch norm, ReLU, pooling, twice; rows flattened as [H W C]."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 3, 3, 1, 1), nn.Conv2d(3, 3, 3, 1, 1)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nn.functional.max_pool2d(norm(conv(x)).relu(), 2)
        return self.head(x.permute(0, 2, 3, 1).flatten(1))

    def tree(self) -> dict[str, np.ndarray]:
        """Path -> array, in our layout."""
        found = {}
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            at = f"blocks/{i}"
            found[f"{at}/conv/kernel"] = conv.weight.permute(2, 3, 1, 0)
            found[f"{at}/conv/bias"] = conv.bias
            found[f"{at}/norm/scale"], found[f"{at}/norm/bias"] = norm.weight, norm.bias
        found |= {"head/kernel": self.head.weight.T, "head/bias": self.head.bias}
        return {path: w.detach().numpy().copy() for path, w in found.items()}


def of_tent() -> dict[str, np.ndarray]:
    """Three batches through the authors' class."""
    import tent

    torch.manual_seed(0)
    model = Conv4()
    with torch.no_grad():
        for norm in model.norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
        model.head.weight.mul_(3)
    before = model.tree()
    model = tent.configure_model(model)
    moving, _ = tent.collect_params(model)
    adapted = tent.Tent(model, torch.optim.SGD(moving, RATE))
    image = 1 + 2 * torch.randn(3, 6, 1, 8, 8)
    logits = torch.stack([adapted(batch).detach() for batch in image])
    found = {f"params/{path}": w for path, w in before.items()}
    found |= {f"after/{path}": w for path, w in model.tree().items()}
    found |= {"image": image.permute(0, 1, 3, 4, 2).numpy(), "logits": logits.numpy()}
    return {f"tent/{name}": array for name, array in found.items()}


class Rows(list):
    """A loader whose iterators know `next()` as torch's once did."""

    def __iter__(self) -> "Once":
        return Once(list.__iter__(self))


class Once:
    """The iterator."""

    def __init__(self, inner) -> None:
        self.next = inner.__next__

    def __iter__(self) -> "Once":
        return self

    def __next__(self):
        return self.next()


def of_shot() -> dict[str, np.ndarray]:
    """Pseudo-labels and the two entropies."""
    stand_in("torchvision", "torchvision.transforms", "network", "data_load", "tqdm")
    torch.Tensor.cuda = lambda self: self
    import loss
    import uda_digit

    torch.manual_seed(1)
    features, head = torch.randn(40, 5), nn.Linear(5, 4)
    with torch.no_grad():
        head.weight.mul_(4)
    batches = [(rows, torch.zeros(len(rows))) for rows in features.split(16)]
    args = Namespace(out_file=StringIO())
    same = nn.Identity()
    labels = uda_digit.obtain_label(Rows(batches), same, same, head, args)
    logits = head(features).detach()
    shares = logits.softmax(1)
    mean = shares.mean(0)
    found = {"features": features, "logits": logits, "labels": torch.as_tensor(labels)}
    found |= {
        "entropy": loss.Entropy(shares).mean(),
        "diversity": torch.sum(-mean * torch.log(mean + 1e-5)),
    }
    return {f"shot/{name}": array.numpy() for name, array in found.items()}


def of_t3a() -> dict[str, np.ndarray]:
    """Four batches, each adapted to and then predicted."""
    base = types.ModuleType("domainbed.algorithms")

    class Algorithm(nn.Module):
        def __init__(self, shape, classes, domains, hparams):
            super().__init__()
            self.hparams = hparams

    base.Algorithm = Algorithm
    sys.modules["domainbed.algorithms"] = base
    from domainbed.adapt_algorithms import T3A

    torch.manual_seed(2)
    head, features = nn.Linear(5, 3), 2 * torch.randn(4, 6, 5)
    source = Namespace(featurizer=nn.Identity(), classifier=head)
    how = {"filter_K": 3, "cached_loader": False}
    model = T3A((5,), 3, 1, how, source)
    with torch.no_grad():
        logits = torch.stack([model(batch, adapt=True) for batch in features])
    found = {"kernel": head.weight.T, "bias": head.bias, "features": features}
    found["logits"] = logits
    return {f"t3a/{name}": array.detach().numpy() for name, array in found.items()}


def main() -> None:
    found = of_tent() | of_t3a() | of_shot()
    np.savez_compressed(HERE / "test_time.npz", **found)


if __name__ == "__main__":
    main()
