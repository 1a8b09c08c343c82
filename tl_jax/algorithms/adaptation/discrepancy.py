"""Terms that bring two domains together by a distance of their features."""

from collections.abc import Sequence

import jax

from tl_jax.algorithms.adaptation.seen import Seen, Side, Term
from tl_jax.losses import discrepancy as losses
from tl_jax.losses.discrepancy import DAN, JAN, MIXTURE, USUAL, Gaussians, Sinkhorn
from tl_jax.types import Array


def mmd(
    strength: float = 1.0, *, kernel: Gaussians = MIXTURE, unbiased: bool = True
) -> Term:
    """strength `losses.discrepancy.mmd` of features (Tzeng et al., 2014).

    Raises ValueError for a negative strength.
    """
    _positive("mmd", strength)

    def value(seen: Seen) -> Array:
        found = losses.mmd(*_features(seen), kernel=kernel, unbiased=unbiased)
        return strength * found

    return Term(value)


def dan(
    strength: float = 1.0, *, kernel: Gaussians = DAN, linear: bool = False
) -> Term:
    """strength `losses.discrepancy.mk_mmd` of features (Long et al., 2015).

    Of the last features alone, as in TLlib; the paper adapts three layers. Raises
    ValueError for a negative strength.
    """
    _positive("dan", strength)

    def value(seen: Seen) -> Array:
        return strength * losses.mk_mmd(*_features(seen), kernel=kernel, linear=linear)

    return Term(value)


def jan(
    strength: float = 1.0,
    *,
    kernels: Sequence[Gaussians] = JAN,
    linear: bool = False,
) -> Term:
    """strength `losses.discrepancy.jmmd` of features and softmax (Long et al., 2017).

    TLlib's adversarial form, with a layer that widens the distance, is left out.
    Raises ValueError for a negative strength.
    """
    _positive("jan", strength)

    def value(seen: Seen) -> Array:
        source, target, *weights = _features(seen)
        both = (jax.nn.softmax(x) for x in _logits("jan", seen))
        layers = zip((source, target), both, strict=True)
        found = losses.jmmd(*layers, *weights, kernels=kernels, linear=linear)
        return strength * found

    return Term(value)


def coral(strength: float = 1.0, *, means: bool = False) -> Term:
    """strength `losses.discrepancy.coral` of features (Sun and Saenko, 2016).

    The paper takes the logits, TLlib the features. Raises ValueError for a negative
    strength.
    """
    _positive("coral", strength)

    def value(seen: Seen) -> Array:
        return strength * losses.coral(*_features(seen), means=means)

    return Term(value)


def cmd(strength: float = 1.0, *, moments: int = 5, span: float = 1.0) -> Term:
    """strength `losses.discrepancy.cmd` of features (Zellinger et al., 2017).

    Raises ValueError for a negative strength.
    """
    _positive("cmd", strength)

    def value(seen: Seen) -> Array:
        return strength * losses.cmd(*_features(seen), moments=moments, span=span)

    return Term(value)


def sliced(strength: float = 1.0, *, lines: int = 128) -> Term:
    """strength `losses.discrepancy.sliced_wasserstein` of features, new lines a step.

    Raises ValueError for a negative strength.
    """
    _positive("sliced", strength)

    def value(seen: Seen) -> Array:
        features = _features(seen)
        found = losses.sliced_wasserstein(seen.key, *features, lines=lines)
        return strength * found

    return Term(value)


def deep_jdot(
    strength: float = 1.0,
    *,
    features: float = 1.0,
    classes: float = 1.0,
    how: Sinkhorn = USUAL,
) -> Term:
    """strength `losses.discrepancy.joint_transport` (Damodaran et al., 2018).

    Of features, the source's labels and the target's logits. Raises ValueError for a
    negative strength.
    """
    _positive("deep_jdot", strength)

    def value(seen: Seen) -> Array:
        source, target, *weights = _features(seen)
        _, logits = _logits("deep_jdot", seen)
        found = losses.joint_transport(
            source,
            target,
            seen.source.stream["labels"],
            logits,
            *weights,
            features=features,
            classes=classes,
            how=how,
        )
        return strength * found

    return Term(value)


def _positive(name: str, strength: float) -> None:
    if not strength >= 0:
        raise ValueError(f"{name}: strength is {strength}, expected >= 0")


def _sides(seen: Seen) -> tuple[Side, Side]:
    """Both domains; raises ValueError where one is missing."""
    for name, side in (("source", seen.source), ("target", seen.target)):
        if side is None:
            raise ValueError(
                f"a distance of domains needs the streams 'source' and 'target', but "
                f"there is no {name!r}"
            )
    return seen.source, seen.target


def _features(seen: Seen) -> tuple[Array, Array, Array, Array]:
    """Features and weights of both domains."""
    source, target = _sides(seen)
    both = source.outputs.features, target.outputs.features
    return *both, source.weight, target.weight


def _logits(name: str, seen: Seen) -> tuple[Array, Array]:
    """Logits of both domains; raises ValueError for a model without them."""
    found = tuple(side.outputs.logits for side in _sides(seen))
    if any(logits is None for logits in found):
        raise ValueError(f"{name}: the model has no logits, give it a head")
    return found
