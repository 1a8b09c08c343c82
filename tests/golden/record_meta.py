"""Record what learn2learn computes for tiny episodes of meta-learning.

    PYTHONPATH=.:FOLDER python tests/golden/record_meta.py

Needs torch, and in FOLDER the sources of learn2learn 0.2.0 and qpth 0.0.18. Writes
`meta.npz`. Weights are in our layouts and under our paths:

    mlp/weights/..., mlp/rates/...      float64; 1 input, 2 layers of 12, 1 output
    mlp/tasks/{support,query}_{x,y}     [K N 1]: 3 tasks, 5 and 7 rows
    mlp/<relu|tanh>/<method>/loss       mean over tasks of the query's mean square
    mlp/<relu|tanh>/<method>/grad/...   its gradient by the weights
        method: maml_1, maml_5, fomaml_1, fomaml_5, anil_1, anil_5 (only the head moves
        inside), meta_sgd_1, meta_sgd_5 (also `grad_rates/...`): inner rate 0.05
        maml_momentum_3 (0.9); tanh/maml_adam_3 (rate 0.01);
        maml_adam_root_3 (the same with eps_root 1e-6)
    mlp/<relu|tanh>/reptile_5/weights/...   after one update, inner 0.05, outer 0.5
    conv4/weights/..., conv4/tasks/...  float32; 8 filters, stride 2, images of 20x20x1;
                                        2 tasks, 3 ways, 2 shots, 3 queries a class
    conv4/<float32|float64>/<maml_2|fomaml_2>/{loss,grad/...}   inner rate 0.1
    heads/{support,query}, heads/{support,query}_labels   float64 [15 6], [10 6]; 5 ways
    heads/prototypes/<euclidean|cosine>/{prototypes,logits,loss,grad_support,grad_query}
    heads/svm/<plain|normalised>/{dual,logits,loss,grad_support,grad_query}   C 0.1
    heads/ridge/{logits,loss,grad_support,grad_query}   lambda 0.5; no learn2learn

The rows marked so are plain torch: momentum, Adam, Reptile, ridge. All others come from
learn2learn, and where plain torch computes them, too, the two must agree.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import meta_torch as plain
import numpy as np
import torch
from meta_arrays import Arrays, conv4_arrays, heads_arrays, mlp_arrays
from meta_networks import conv4_network, mlp_network
from torch import Tensor
from torch.nn import functional as F

from experiments.benchmarks.source import learn2learn

HERE = Path(__file__).parent
RATE, CONV_RATE, OUTER, MOMENTUM, ADAM_RATE, EPS_ROOT = 0.05, 0.1, 0.5, 0.9, 0.01, 1e-6
C, LAMBDA, ITERATIONS = 0.1, 0.5, 40


def tensors(arrays: Arrays, dtype: torch.dtype) -> dict[str, Tensor]:
    """Floats of one precision, labels as they are."""
    found = {name: torch.from_numpy(a) for name, a in arrays.items()}
    return {n: t.to(dtype) if t.is_floating_point() else t for n, t in found.items()}


def by_learn2learn(learner, loss, tasks, steps: int, body=None) -> float:
    """Mean query loss of adapted clones, its gradient left in the parameters.

    `body` maps x to what the learner reads.
    """
    total, count = 0.0, len(tasks["support_x"])
    for k in range(count):
        task = {name: values[k] for name, values in tasks.items()}
        if body is not None:
            task |= {name: body(task[name]) for name in ("support_x", "query_x")}
        clone = learner.clone()
        for _ in range(steps):
            clone.adapt(loss(clone(task["support_x"]), task["support_y"]))
        value = loss(clone(task["query_x"]), task["query_y"]) / count
        value.backward()
        total += value.item()
    return total


def numpy(values: dict[str, Tensor]) -> Arrays:
    return {name: value.detach().numpy() for name, value in values.items()}


def named(prefix: str, values: Arrays) -> Arrays:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def agree(found: Arrays, expected: dict[str, Tensor], limit: float = 1e-10) -> None:
    """Stop where learn2learn and plain torch differ."""
    for name, value in expected.items():
        value = value.detach().numpy()
        error = np.abs(found[name] - value).max() / max(np.abs(value).max(), 1e-3)
        assert error < limit, (name, error)


def one(loss: float, grads: Arrays) -> Arrays:
    return {"loss": np.array(loss)} | named("grad", grads)


def mlp_methods(activation: str) -> Arrays:
    """Every method on the MLP with one activation."""
    weights, rates, tasks = (tensors(a, torch.float64) for a in mlp_arrays())
    loss, found = plain.squared(activation), {}
    for steps in (1, 5):
        for method in ("maml", "fomaml", "anil"):
            result = one_mlp(method, activation, weights, tasks, steps)
            found |= named(f"{method}_{steps}", result)
        result = one_meta_sgd(activation, weights, rates, tasks, steps)
        found |= named(f"meta_sgd_{steps}", result)
    inner = {
        "maml_momentum_3": plain.sgd(RATE, MOMENTUM),
        "maml_adam_root_3": plain.adam(ADAM_RATE, eps_root=EPS_ROOT),
    }
    if activation == "tanh":  # a dead ReLU's gradient is 0, and sqrt has no slope there
        inner["maml_adam_3"] = plain.adam(ADAM_RATE)
    for name, rule in inner.items():
        value, grads = plain.maml(loss, weights, tasks, 3, rule)
        found |= named(name, one(value.item(), numpy(grads)))
    after = plain.reptile(loss, weights, tasks, 5, plain.sgd(RATE), OUTER)
    return found | named("reptile_5/weights", numpy(after))


def one_mlp(method: str, activation: str, weights, tasks, steps: int) -> Arrays:
    """MAML of one kind: learn2learn's, checked against plain torch."""
    network, places = mlp_network(activation, weights["blocks/0/bias"].shape[0])
    places.fill(weights)
    body, part, how = None, network, {}
    if method == "anil":
        body, part = network
        how = {"moves": ["head/kernel", "head/bias"]}
    elif method == "fomaml":
        how = {"first_order": True}
    maml = learn2learn("algorithms.maml").MAML
    learner = maml(part, RATE, first_order=method == "fomaml")
    value = by_learn2learn(learner, F.mse_loss, tasks, steps, body)
    grads = places.read(lambda p: p.grad)
    loss, rule = plain.squared(activation), plain.sgd(RATE)
    agree(grads, plain.maml(loss, weights, tasks, steps, rule, **how)[1])
    return one(value, grads)


def one_meta_sgd(activation: str, weights, rates, tasks, steps: int) -> Arrays:
    """learn2learn's MetaSGD with rates of ours, checked against plain torch."""
    network, places = mlp_network(activation, weights["blocks/0/bias"].shape[0])
    places.fill(rates)
    drawn = [p.detach().clone() for p in network.parameters()]
    places.fill(weights)
    learner = learn2learn("algorithms.meta_sgd").MetaSGD(network)
    own = dict(zip(network.parameters(), learner.lrs, strict=True))
    for rate, value in zip(own.values(), drawn, strict=True):
        rate.data = value
    value = by_learn2learn(learner, F.mse_loss, tasks, steps)
    grads = places.read(lambda p: p.grad)
    of_rates = places.read(lambda p: own[p].grad)
    loss = plain.squared(activation)
    _, *same = plain.meta_sgd(loss, weights, rates, tasks, steps)
    agree(grads, same[0])
    agree(of_rates, same[1])
    return one(value, grads) | named("grad_rates", of_rates)


def conv4_methods(dtype: torch.dtype) -> Arrays:
    """MAML and FOMAML of two inner steps on the Conv4."""
    weights, tasks = (tensors(a, dtype) for a in conv4_arrays())
    filters, ways = weights["blocks/0/conv/bias"].shape[0], len(weights["head/bias"])
    channels_first = {
        name: value.permute(0, 1, 4, 2, 3) if name.endswith("_x") else value
        for name, value in tasks.items()
    }
    found = {}
    for method in ("maml", "fomaml"):
        network, places = conv4_network(filters, ways)
        places.fill(weights)
        first = method == "fomaml"
        maml = learn2learn("algorithms.maml").MAML
        learner = maml(network, CONV_RATE, first_order=first)
        value = by_learn2learn(learner, F.cross_entropy, channels_first, 2)
        grads = places.read(lambda p: p.grad)
        how, rule = {"first_order": first}, plain.sgd(CONV_RATE)
        same = plain.maml(plain.crossed, weights, tasks, 2, rule, **how)[1]
        agree(grads, same, 1e-9 if dtype == torch.float64 else 1e-4)
        found |= named(f"{method}_2", one(value, grads))
    return found


def heads() -> Arrays:
    """Heads that are computed from a support set."""
    arrays = heads_arrays()
    given = tensors(arrays, torch.float64)
    protos = learn2learn("nn.protonet").PrototypicalClassifier
    found = dict(arrays)
    for distance in ("euclidean", "cosine"):

        def fit(x: Tensor, y: Tensor, distance: str = distance):
            made = protos(x, y, distance=distance)
            return made, {"prototypes": made.prototypes}

        found |= named(f"prototypes/{distance}", scored(fit, given))
    svm = learn2learn("nn.metaoptnet").SVClassifier
    for kind in ("plain", "normalised"):

        def fit(x: Tensor, y: Tensor, kind: str = kind):
            how = {"normalize": kind == "normalised", "C_reg": C}
            made = svm(x, y, max_iters=ITERATIONS, **how)
            return made, {"dual": made.qp_solution}

        found |= named(f"svm/{kind}", scored(fit, given))
    return found | named("ridge", scored(ridge, given))


def ridge(x: Tensor, y: Tensor) -> tuple[Callable[[Tensor], Tensor], dict]:
    """W = x^T (x x^T + lambda I)^-1 Y of one-hot Y (Bertinetto et al., 2019)."""
    target = F.one_hot(y).to(x.dtype)
    gram = x @ x.T + LAMBDA * torch.eye(len(x), dtype=x.dtype)
    kernel = x.T @ torch.linalg.solve(gram, target)
    return lambda query: query @ kernel, {"kernel": kernel}


def scored(fit: Callable, given: dict[str, Tensor]) -> Arrays:
    """Logits, mean cross entropy, its gradients by both sets, and what `fit` tells."""
    support, query = (given[n].clone().requires_grad_() for n in ("support", "query"))
    head, more = fit(support, given["support_labels"])
    logits = head(query)
    loss = F.cross_entropy(logits, given["query_labels"])
    by = torch.autograd.grad(loss, (support, query))
    grads = dict(zip(("grad_support", "grad_query"), by, strict=True))
    return numpy({"logits": logits, "loss": loss} | grads | more)


def everything() -> Arrays:
    """All that is recorded; sets torch's default precision to float64."""
    torch.set_default_dtype(torch.float64)  # learn2learn makes identities of it
    weights, rates, tasks = mlp_arrays()
    found = named("mlp/weights", weights) | named("mlp/rates", rates)
    found |= named("mlp/tasks", tasks)
    for activation in ("relu", "tanh"):
        found |= named(f"mlp/{activation}", mlp_methods(activation))
    weights, tasks = conv4_arrays()
    found |= named("conv4/weights", weights) | named("conv4/tasks", tasks)
    for name in ("float32", "float64"):
        found |= named(f"conv4/{name}", conv4_methods(getattr(torch, name)))
    return found | named("heads", heads())


def main() -> None:
    sys.modules.setdefault("cvxpy", ModuleType("cvxpy"))  # qpth's other solver
    found = everything()
    assert all(np.isfinite(value).all() for value in found.values())
    np.savez_compressed(HERE / "meta.npz", **found)


if __name__ == "__main__":
    main()
