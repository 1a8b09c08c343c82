"""Losses of two domains, forward and backward, against TLlib's."""

from collections.abc import Callable
from typing import Any

from experiments.benchmarks import adaptation, pairs
from experiments.benchmarks.adaptation import BATCH, CLASSES, NEEDS, WIDTH
from experiments.benchmarks.adapted_networks import reversal
from experiments.benchmarks.kinds import Ready, Row
from experiments.benchmarks.source import tllib

CDAN_CLASSES = 10
"""Of the digits: 31 classes' map is 7,936 wide, and TLlib's a random one by default."""


def with_us(name: str, dtype: str) -> Ready:
    """The loss as the library has it."""
    if name == "cdan":
        return adaptation.loss_with_us(conditional(), *of_cdan())
    import jax

    from tl_jax.losses import discrepancy

    if name == "jmmd":

        def joint(s: Any, t: Any, p: Any, q: Any) -> Any:
            return discrepancy.jmmd([s, jax.nn.softmax(p)], [t, jax.nn.softmax(q)])

        return adaptation.loss_with_us(joint, *of_both())
    loss = {"mmd": discrepancy.mk_mmd, "coral": of_tllib}[name]
    return adaptation.loss_with_us(loss, *of_both()[:2])


def of_tllib(source: Any, target: Any) -> Any:
    """TLlib's CORAL: four times the paper's, and the means."""
    from tl_jax.losses.discrepancy import coral

    return coral(2 * source, 2 * target, means=True) / 4


def with_tllib(name: str, compile: bool, dtype: str) -> Ready:
    """The same by TLlib."""
    how = dict(compile=compile)
    if name == "cdan":
        return adaptation.loss_with_torch(their_conditional(), *of_cdan(), **how)
    constant = 2 / (BATCH - 1)
    kernel = tllib("modules.kernels").GaussianKernel
    five = [kernel(alpha=2.0**k) for k in range(-3, 2)]
    if name == "coral":
        loss = tllib("alignment.coral").CorrelationAlignmentLoss()
        return adaptation.loss_with_torch(loss, *of_both()[:2], **how)
    if name == "mmd":
        loss = tllib("alignment.dan").MultipleKernelMaximumMeanDiscrepancy(five)
        own = of_both()[:2]
        return adaptation.loss_with_torch(loss, *own, **how, less=constant)
    kernels = five, (kernel(sigma=0.92, track_running_stats=False),)
    kind = tllib("alignment.jan").JointMultipleKernelMaximumMeanDiscrepancy
    module = kind(kernels, linear=False)

    def joint(s: Any, t: Any, p: Any, q: Any) -> Any:
        return module((s, p.softmax(1)), (t, q.softmax(1)))

    return adaptation.loss_with_torch(joint, *of_both(), **how, less=constant)


def of_both() -> tuple:
    """Features and logits of both domains."""
    data = adaptation.domains(BATCH, WIDTH, classes=CLASSES)
    names = ("source", "target", "source_logits", "target_logits")
    return tuple(data[name] for name in names)


def of_cdan() -> tuple:
    """Logits, features, and the kernel and bias of a critic of one layer."""
    import numpy as np

    data = adaptation.domains(BATCH, WIDTH, classes=CDAN_CLASSES)
    rng = np.random.default_rng(1)
    kernel = 0.05 * rng.normal(size=(CDAN_CLASSES * WIDTH, 1))
    names = ("source_logits", "source", "target_logits", "target")
    own = (data[name] for name in names)
    return *own, kernel.astype("f"), np.zeros(1, np.float32)


def conditional() -> Callable:
    """The library's term CDAN+E, called as a step calls it."""
    import jax
    import jax.numpy as jnp

    from tl_jax.algorithms.adaptation import Seen, Side
    from tl_jax.algorithms.adaptation.cdan import cdan
    from tl_jax.types import Outputs

    term = cdan(classes=CDAN_CLASSES, entropy=True, steepness=None)

    def loss(p: Any, s: Any, q: Any, t: Any, kernel: Any, bias: Any) -> Any:
        def run(player: str, inputs: Any, **how: Any) -> tuple:
            rows = inputs["features"]
            return Outputs(rows, rows @ kernel + bias), {}

        sides = (
            Side(Outputs(rows, logits), {"weight": jnp.ones(BATCH)})
            for rows, logits in ((s, p), (t, q))
        )
        seen = Seen({}, {}, None, jnp.float32(0), jax.random.key(0), run, *sides)
        return term.value(seen).value

    return loss


def their_conditional() -> Callable:
    """TLlib's CDAN+E, its critic's weights given; a reversal without a warm start."""
    from torch.nn import functional as F

    critic: dict[str, Any] = {}

    def judge(rows: Any) -> Any:
        return F.linear(rows, critic["kernel"].T, critic["bias"]).sigmoid()

    kind = tllib("alignment.cdan").ConditionalDomainAdversarialLoss
    module = kind(judge, entropy_conditioning=True)
    module.grl = reversal()

    def loss(p: Any, s: Any, q: Any, t: Any, kernel: Any, bias: Any) -> Any:
        critic.update(kernel=kernel, bias=bias)
        return module(p, s, q, t)

    return loss


def row(name: str, title: str, what: str) -> Row:
    """A loss's row."""
    return Row(
        name,
        f"{title}, forward and backward",
        f"{what}; {BATCH} rows a domain, {WIDTH} features.",
        ours=(adaptation.mine(f"{__name__}:with_us", name=name.removeprefix("loss_")),),
        peers=pairs.peers(
            "TLlib",
            f"{__name__}:with_tllib",
            NEEDS,
            name=name.removeprefix("loss_"),
        ),
        examples=2 * BATCH,
    )


ROWS = (
    row("loss_mmd", "MK-MMD", "DAN's quadratic discrepancy of five Gaussians"),
    row(
        "loss_jmmd",
        "JMMD",
        f"JAN's quadratic discrepancy of features and a softmax of {CLASSES} classes",
    ),
    row("loss_coral", "CORAL", "TLlib's: covariances and means"),
    row(
        "loss_cdan",
        "CDAN+E",
        f"Outer product with a softmax of {CDAN_CLASSES} classes, reversal, weights by "
        "entropy and cross entropies; the critic is one dense layer, as the products "
        "of a deeper one are the same on all sides",
    ),
)
