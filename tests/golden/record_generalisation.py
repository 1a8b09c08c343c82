"""Record what DomainBed's IRM, V-REx, GroupDRO and Mixup compute, and what it selects.

    PYTHONPATH=DomainBed python tests/golden/record_generalisation.py

over a checkout of facebookresearch/DomainBed (b93c22a). Needs torch. Its networks are
replaced by a linear head. Writes `generalisation.npz`:

x [E B D], y [E B], kernel [D C], bias [C]; <method>/{loss,kernel,bias}: the value and
its slopes at the first update; group_dro/q [3 E] after each of three; mixup/{next,
share} [E] what was drawn; chosen/{in,out} [R S E] accuracies by run, step and domain,
chosen/held [R S E] those of models that held out domain 0 and another one, and
chosen/<rule> the accuracy in domain 0 of what each rule chose
"""

import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
DOMAINS, ROWS, WIDTH, CLASSES = 3, 6, 4, 3
RUNS, STEPS = 5, 4


def linear_networks() -> None:
    """A module of networks in which features are the inputs."""
    networks = types.ModuleType("domainbed.networks")

    class Featurizer(nn.Identity):
        def __init__(self, shape, hparams):
            super().__init__()
            self.n_outputs = shape[0]

    networks.Featurizer = Featurizer
    networks.Classifier = lambda inputs, classes, nonlinear: nn.Linear(inputs, classes)
    sys.modules["domainbed.networks"] = networks
    import domainbed

    domainbed.networks = networks


HPARAMS = dict(
    lr=0.0, weight_decay=0.0, nonlinear_classifier=False, irm_lambda=7.0,
    irm_penalty_anneal_iters=0, vrex_lambda=5.0, vrex_penalty_anneal_iters=0,
    groupdro_eta=0.5, mixup_alpha=0.4,
)  # fmt: skip


def of_methods() -> dict[str, np.ndarray]:
    """One update of each on the same weights; a rate of 0 leaves them there."""
    from domainbed import algorithms

    torch.manual_seed(0)
    x = torch.randn(DOMAINS, ROWS, WIDTH) + torch.arange(DOMAINS)[:, None, None]
    y = torch.randint(0, CLASSES, (DOMAINS, ROWS))
    batches = list(zip(x, y, strict=True))
    found = {"x": x.numpy(), "y": y.numpy()}
    names = dict(irm="IRM", vrex="VREx", group_dro="GroupDRO", mixup="Mixup")
    for name, theirs in names.items():
        torch.manual_seed(1)
        made = getattr(algorithms, theirs)((WIDTH,), CLASSES, DOMAINS, HPARAMS)
        torch.manual_seed(2)
        np.random.seed(3)
        told = made.update(batches)
        head, at = made.classifier, f"{name}/"
        found["kernel"] = head.weight.detach().numpy().T.copy()
        found["bias"] = head.bias.detach().numpy().copy()
        found[f"{at}loss"] = told["loss"]
        found[f"{at}kernel"] = head.weight.grad.numpy().T.copy()
        found[f"{at}bias"] = head.bias.grad.numpy().copy()
        if name == "group_dro":
            q = [made.q.numpy().copy()]
            for _ in range(2):
                made.update(batches)
                q.append(made.q.numpy().copy())
            found["group_dro/q"] = np.stack(q)
    return found | circle()


def circle() -> dict[str, np.ndarray]:
    """Mixup's draws once more, by domain."""
    torch.manual_seed(2)
    np.random.seed(3)
    order = torch.randperm(DOMAINS).tolist()
    following, share = np.zeros(DOMAINS, int), np.zeros(DOMAINS)
    for i, domain in enumerate(order):
        following[domain] = order[(i + 1) % DOMAINS]
        share[domain] = np.random.beta(HPARAMS["mixup_alpha"], HPARAMS["mixup_alpha"])
    return {"mixup/next": following, "mixup/share": share}


def of_rules() -> dict[str, np.ndarray]:
    """Random accuracies, in a few cells of which runs are missing."""
    from domainbed import model_selection
    from domainbed.lib.query import Q

    rng = np.random.default_rng(4)
    inside, out, held = rng.uniform(size=(3, RUNS, STEPS, DOMAINS))
    held[1, 2, 1] = held[3, :, 2] = np.nan
    records = []
    for run, step in np.ndindex(RUNS, STEPS):
        for other in range(DOMAINS):
            tests = [0] if other == 0 else [0, other]
            if other and np.isnan(held[run, step, other]):
                continue
            record = {"args": {"hparams_seed": run, "test_envs": tests}, "step": step}
            for env in range(DOMAINS):
                own = held if other == env and other else inside
                record[f"env{env}_in_acc"] = own[run, step, env]
                record[f"env{env}_out_acc"] = out[run, step, env]
            records.append(record)
    found = {"in": inside, "out": out, "held": held}
    for name, rule in (
        ("training", "IIDAccuracySelectionMethod"),
        ("held_out", "LeaveOneOutSelectionMethod"),
        ("oracle", "OracleSelectionMethod"),
    ):
        found[name] = getattr(model_selection, rule).sweep_acc(Q(records))
    return {f"chosen/{name}": value for name, value in found.items()}


def main() -> None:
    linear_networks()
    np.savez_compressed(HERE / "generalisation.npz", **of_methods(), **of_rules())


if __name__ == "__main__":
    main()
