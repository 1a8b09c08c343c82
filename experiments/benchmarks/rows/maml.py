"""MAML of sinusoids and of a Conv4 against learn2learn and torch.func."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.benchmarks import meta, meta_networks, meta_ours, meta_torch, tried
from experiments.benchmarks.kinds import Ready, Row, Side
from experiments.benchmarks.meta import Down
from experiments.benchmarks.meta_torch import Inner
from experiments.benchmarks.source import LEARN2LEARN

INNER = 5
"""Steps on a support set of glyphs."""
WHO = {
    "learn2learn": "learn2learn",
    "func": "torch.func, eager",
    "compiled": "torch.func, torch.compile",
    "hand": "torch, tasks batched by hand",
    "threads": "torch, batched by hand, two threads",
}
"""How torch does it -> the side's name."""


def waves_with_us(steps: int) -> Ready:
    """The library's side of sinusoids."""
    return meta_ours.on_waves(steps)


def waves_with_torch(who: str, steps: int) -> Ready:
    """A peer's side of sinusoids."""
    from torch.nn import functional as F

    weights = meta_torch.tensors(meta.wave_weights())
    inner = Inner(meta.WAVE_RATE, steps)
    losses = meta_networks.wave_loss, meta_networks.wave_losses, F.mse_loss
    side = peer(who, weights, inner, losses, meta_networks.wave_module)
    ready = meta_torch.training(*side, meta.waves())
    return ready._replace(compiles=who == "compiled")


def glyphs_with_us(
    filters: int, count: int, down: Down, first_order: bool, parts: int = 1
) -> Ready:
    """The library's side of the Conv4; `parts` devices of the host share the tasks."""
    how = dict(tasks="auto", parts=parts)
    return meta_ours.on_glyphs(filters, count, down, INNER, first_order, **how)


def glyphs_with_torch(
    who: str, filters: int, count: int, down: Down, first_order: bool
) -> Ready:
    """A peer's side of the Conv4."""
    from torch.nn import functional as F

    weights = meta_torch.tensors(meta.conv4_weights(filters, down))
    inner = Inner(meta.GLYPH_RATE, INNER, first_order)
    of_one, of_many = meta_networks.glyph_loss(down), meta_networks.glyph_losses(down)

    def module(weights: dict) -> Any:
        return meta_networks.glyph_module(weights, down)

    side = peer(who, weights, inner, (of_one, of_many, F.cross_entropy), module)
    return meta_torch.training(*side, [meta.glyphs(count)])


def peer(who: str, weights: dict, inner: Inner, losses: tuple, module: Callable):
    """(weights that move, gradient) of one of `WHO`."""
    of_one, of_many, plain = losses
    if who == "learn2learn":
        network = module(weights)
        own = dict(zip(weights, network.parameters(), strict=True))
        return own, meta_torch.with_learn2learn(plain, inner, network)
    for weight in weights.values():
        weight.requires_grad_()
    if who in ("func", "compiled"):
        return weights, meta_torch.with_func(of_one, inner, who == "compiled")
    gradient = meta_torch.by_hand(of_many, inner)
    return weights, meta_torch.in_threads(gradient) if who == "threads" else gradient


def peers(build: str, who: tuple[str, ...], **options: Any) -> tuple[Side, ...]:
    """Sides in torch, by the keys of `WHO`."""
    found = []
    for key in who:
        needs = ("torch", LEARN2LEARN) if key == "learn2learn" else ("torch",)
        how = dict(needs=needs, compiler=key == "compiled")
        own = {"who": key, **options}
        found.append(Side(WHO[key], f"{__name__}:{build}", own, "torch", **how))
    return tuple(found)


def mine(build: str, env: Mapping[str, str] | None = None, **options: Any) -> Side:
    """The library's side."""
    how = dict(framework="jax", allocator="system", env=env or {})
    return Side("tl_jax, float32", f"{__name__}:{build}", options, **how)


TWO = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


def of_waves(steps: int) -> Row:
    """Sinusoids with some inner steps."""
    what = f"{steps} inner step{'s' if steps > 1 else ''}"
    return Row(
        "maml_sinusoid" if steps == 1 else f"maml_sinusoid_{steps}",
        f"MAML of sinusoids, {what}",
        f"{meta.SETS} meta-steps of Adam, each on {meta.WAVES} other tasks: exact "
        f"second order through {what} of rate {meta.WAVE_RATE:g} on {meta.SHOTS} rows, "
        f"{meta.SHOTS} queries; two layers of {meta.WIDTH}, ReLU.",
        ours=(mine("waves_with_us", steps=steps),),
        peers=peers(
            "waves_with_torch",
            ("learn2learn", "func", "compiled", "hand"),
            steps=steps,
        ),
        examples=meta.SETS * meta.WAVES,
        tried=tried.META,
    )


def of_glyphs(
    name: str, filters: int, count: int, down: Down, first_order: bool = False
) -> Row:
    """The Conv4 with one setting; learned by all sides."""
    order = "first order" if first_order else "exact second order"
    halved = "a stride of 2" if down == "stride" else "2x2 max pooling"
    options = dict(filters=filters, count=count, down=down, first_order=first_order)
    return Row(
        name,
        f"MAML of Conv4, {filters} filters, {count} tasks, {down}"
        + (", first order" if first_order else ""),
        f"One meta-step of Adam on {count} tasks of {meta.WAYS} ways, 1 shot, "
        f"{meta.QUERIES} queries a class, images of {meta.SIDE}x{meta.SIDE}x1: {order} "
        f"through {INNER} inner steps of rate {meta.GLYPH_RATE:g}; {filters} filters, "
        f"{halved}, batch norm by the statistics of each set.",
        ours=(mine("glyphs_with_us", TWO, parts=2, **options),),
        peers=peers(
            "glyphs_with_torch", ("learn2learn", "func", "hand", "threads"), **options
        ),
        examples=count,
        tried=(*tried.META, *tried.CONV_META),
    )


ROWS = (
    of_waves(1),
    of_waves(5),
    of_glyphs("maml_conv4", 64, 16, "stride"),
    of_glyphs("maml_conv4_narrow", 32, 32, "stride"),
    of_glyphs("maml_conv4_pool", 64, 16, "pool"),
    of_glyphs("maml_conv4_first", 64, 16, "stride", first_order=True),
)
