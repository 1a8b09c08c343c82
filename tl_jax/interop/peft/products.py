"""VERA, LOHA, LOKR and IA3 files."""

from tl_jax.interop.peft.codec import Adapter, Codec, Taken, Tensors, Written, array
from tl_jax.interop.peft.settings import by_pattern, patterned, round_number, setting
from tl_jax.transfer.low_rank import LoHa, LoKr, Projections, VeRA
from tl_jax.transfer.low_rank.factors import scale_of
from tl_jax.transfer.low_rank.lokr import factorised
from tl_jax.transfer.scaling import IA3
from tl_jax.types import Array, Patch


def read_vera(adapter: Adapter) -> dict[str, Patch]:
    """Module -> its vectors, and the matrices at the root, ""."""
    if not setting(adapter.config, "save_projection", True, bool):
        raise ValueError(
            "adapter_config.json: save_projection is false, so that the matrices are "
            "torch's random numbers, which are not made here; save with true"
        )
    rate = setting(adapter.config, "vera_dropout", 0.0, float)
    shared = Taken("base_model", adapter.shared)
    shapes = [_dense("VeRA", m, adapter.kernels[m]) for m in adapter.modules]
    rows, columns = (max(shape[i] for shape in shapes) for i in (0, 1))
    a, b = shared.take("vera_A", (None, rows)).T, shared.take("vera_B").T
    if b.shape != (a.shape[1], columns):
        raise ValueError(
            f"vera_B is {list(b.T.shape)}, expected {[columns, a.shape[1]]}"
        )
    shared.done()
    found: dict[str, Patch] = {"": Projections(a, b)}
    for module, tensors in adapter.modules.items():
        own, rank = Taken(module, tensors), a.shape[1]
        d = own.take("vera_lambda_d", (rank,))
        wide = adapter.kernels[module][1]
        found[module] = VeRA(d, own.take("vera_lambda_b", (wide,)), rate)
        own.done()
    return found


def write_vera(nodes: dict[str, Patch]) -> Written:
    """The matrices go along, so that no seed is needed."""
    nodes = dict(nodes)
    root = nodes.pop("")
    modules: dict[str, Tensors] = {
        module: {"vera_lambda_d": array(own.d), "vera_lambda_b": array(own.b)}
        for module, own in nodes.items()
    }
    config = {
        "r": root.a.shape[1],
        "projection_prng_key": root.seed,
        "save_projection": True,
        "vera_dropout": max(own.rate for own in nodes.values()),
        "d_initial": 0.1,
        "fan_in_fan_out": False,
    }
    shared = {"vera_A": array(root.a).T, "vera_B": array(root.b).T}
    return Written(config, modules, shared)


def _dense(method: str, module: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise ValueError(
            f"{module}: {method} of a kernel {list(shape)}; files are read and "
            "written of dense layers, expected [I O]"
        )
    return shape[0], shape[1]


def _alpha_scale(adapter: Adapter, module: str, rank: int) -> Array:
    config = adapter.config
    alpha = by_pattern(config.get("alpha_pattern"), module, config.get("alpha", 8))
    return scale_of(alpha, rank, False)


def read_loha(adapter: Adapter) -> dict[str, Patch]:
    """Module -> LoHa; theirs multiplies [O r] by [r I], ours is turned."""
    found = {}
    for module, tensors in adapter.modules.items():
        d_in, d_out = _dense("LoHa", module, adapter.kernels[module])
        own, pairs = Taken(module, tensors), []
        for number in "12":
            left = own.take(f"hada_w{number}_a", (d_out, None))
            right = own.take(f"hada_w{number}_b", (left.shape[1], d_in))
            pairs.append((right.T, left.T))
        scale = _alpha_scale(adapter, module, pairs[0][0].shape[1])
        found[module] = LoHa(*pairs, scale)
        own.done()
    return found


def write_loha(nodes: dict[str, Patch]) -> Written:
    modules: dict[str, Tensors] = {}
    for module, own in nodes.items():
        modules[module] = {}
        for number, pair in (("1", own.first), ("2", own.second)):
            if len(pair) != 2 or pair[0].ndim != 2:
                _dense("LoHa", module, pair[0].shape)
            modules[module][f"hada_w{number}_a"] = array(pair[1]).T
            modules[module][f"hada_w{number}_b"] = array(pair[0]).T
    ranks = {m: own.first[0].shape[1] for m, own in nodes.items()}
    return Written(_ranked(nodes, ranks), modules, {})


def _ranked(nodes: dict[str, Patch], ranks: dict[str, int]) -> dict:
    alphas = {m: round_number(float(n.scale) * ranks[m]) for m, n in nodes.items()}
    rank, other_ranks = patterned(ranks)
    alpha, other_alphas = patterned(alphas)
    return {
        "r": rank,
        "rank_pattern": other_ranks,
        "alpha": alpha,
        "alpha_pattern": other_alphas,
        "init_weights": True,
    }


def read_lokr(adapter: Adapter) -> dict[str, Patch]:
    """Module -> LoKr, each factor whole or as a product."""
    found, config = {}, adapter.config
    for module, tensors in adapter.modules.items():
        _dense("LoKr", module, adapter.kernels[module])
        own, parts = Taken(module, tensors), []
        for name in ("lokr_w1", "lokr_w2"):
            if own.has(name):
                parts.append((own.take(name, (None, None)).T,))
            else:
                left = own.take(f"{name}_a", (None, None))
                right = own.take(f"{name}_b", (left.shape[1], None))
                parts.append((right.T, left.T))
        sides = [(p[0].shape[0], p[-1].shape[1]) for p in parts]
        made = tuple(a * b for a, b in zip(*sides, strict=True))
        if made != tuple(adapter.kernels[module]):
            raise ValueError(
                f"{module}: the product of lokr_w1 and lokr_w2 is {list(made[::-1])}, "
                f"expected {list(adapter.kernels[module][::-1])}"
            )
        rank = by_pattern(config.get("rank_pattern"), module, config.get("r", 8))
        found[module] = LoKr(*parts, _alpha_scale(adapter, module, rank))
        own.done()
    return found


def write_lokr(nodes: dict[str, Patch]) -> Written:
    """The tensors, and a rank and a factor from which PEFT makes their shapes."""
    modules: dict[str, Tensors] = {}
    for module, own in nodes.items():
        modules[module] = {}
        for name, part in (("lokr_w1", own.outer), ("lokr_w2", own.inner)):
            if any(p.ndim != 2 for p in part):
                _dense("LoKr", module, part[0].shape)
            if len(part) == 1:
                modules[module][name] = array(part[0]).T
            else:
                modules[module][f"{name}_a"] = array(part[1]).T
                modules[module][f"{name}_b"] = array(part[0]).T
    ranks = {module: _rank(own) for module, own in nodes.items()}
    config = _ranked(nodes, ranks)
    factor, both = _splits(nodes, ranks)
    return Written(
        config | {"decompose_factor": factor, "decompose_both": both}, modules, {}
    )


def _rank(own: LoKr) -> int:
    """The rank of the factors; where both are whole, one that leaves them so."""
    for part in (own.inner, own.outer):
        if len(part) == 2:
            return part[0].shape[1]
    return max(own.inner[0].shape)


def _splits(nodes: dict[str, Patch], ranks: dict[str, int]) -> tuple[int, bool]:
    """`decompose_factor` and `decompose_both`; raises where none gives all shapes."""
    sides = {
        m: [(p[0].shape[0], p[-1].shape[1]) for p in (own.outer, own.inner)]
        for m, own in nodes.items()
    }
    low = {m: len(own.outer) == 2 for m, own in nodes.items()}
    tried = [-1, *sorted({outer[0] for outer, _ in sides.values()})]

    def fits(factor: int, both: bool) -> bool:
        for module, (outer, inner) in sides.items():
            pairs = [
                factorised(a * b, factor) for a, b in zip(outer, inner, strict=True)
            ]
            if tuple(zip(*pairs, strict=True)) != (outer, inner):
                return False
            if (both and ranks[module] < max(outer) / 2) != low[module]:
                return False
        return True

    for both in (False, True):
        for factor in tried:
            if fits(factor, both):
                return factor, both
    raise ValueError(
        f"lokr: factors of sizes {sides} come from no one decompose_factor, so that "
        "PEFT has no config for them"
    )


def read_ia3(adapter: Adapter) -> dict[str, Patch]:
    """Module -> IA3, at the input where the tensor is a row."""
    found = {}
    for module, tensors in adapter.modules.items():
        own = Taken(module, tensors)
        d_in, d_out = _dense("IA3", module, adapter.kernels[module])
        inside = _is_feedforward(adapter.config.get("feedforward_modules"), module)
        scale = own.take("ia3_l", (1, d_in) if inside else (d_out, 1))
        found[module] = IA3(scale.reshape(-1), "input" if inside else "output")
        own.done()
    return found


def _is_feedforward(named: list[str] | str | None, module: str) -> bool:
    if isinstance(named, str):
        return by_pattern({named: True}, module, False)
    return any(module == n or module.endswith(f".{n}") for n in named or ())


def write_ia3(nodes: dict[str, Patch]) -> Written:
    modules: dict[str, Tensors] = {}
    inside = []
    for module, own in nodes.items():
        scale = array(own.scale)
        if own.point == "input":
            inside.append(module)
        row = own.point == "input"
        modules[module] = {"ia3_l": scale[None] if row else scale[:, None]}
    config = {
        "feedforward_modules": inside,
        "fan_in_fan_out": False,
        "init_ia3_weights": True,
    }
    return Written(config, modules, {})


RANKED = frozenset({"r", "alpha", "rank_pattern", "alpha_pattern", "module_dropout"})
VERA = Codec(
    (VeRA, Projections),
    frozenset(
        {"r", "projection_prng_key", "save_projection", "vera_dropout", "d_initial"}
    ),
    read_vera,
    write_vera,
)
LOHA = Codec((LoHa,), RANKED | {"rank_dropout"}, read_loha, write_loha)
LOKR = Codec(
    (LoKr,),
    RANKED
    | {"rank_dropout", "rank_dropout_scale", "decompose_both", "decompose_factor"},
    read_lokr,
    write_lokr,
)
IA3S = Codec(
    (IA3,), frozenset({"feedforward_modules", "init_ia3_weights"}), read_ia3, write_ia3
)
