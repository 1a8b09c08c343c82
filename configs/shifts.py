"""Ways to learn from one domain for another, as data; configs add rates of their own.

Strengths, kernels, temperatures and thresholds are those of the papers, and none was
tuned. Critics have TLlib's batch norms since scores of digits were seen without;
validation on the source chooses them, too (`configs/digits_shift.py`).
"""

from ml_collections import ConfigDict

from configs import base

SOURCE_ONLY = {"title": "Source only", "note": "the target is not looked at"}
CEILING = {
    "title": "Target supervised",
    "note": "the ceiling: labels of the target alone, all of those that train",
    "source": False,
    "target_labelled": -1,
}
CORAL = {
    "title": "Deep CORAL",
    "note": "covariances of features agree",
    "adapt": {"coral": {}},
}
MMD = {
    "title": "MMD (DAN)",
    "note": "means of features agree under five Gaussian kernels",
    "adapt": {"dan": {}},
}
JAN = {
    "title": "JAN",
    "note": "joint means of features and predictions agree",
    "adapt": {"jan": {}},
}
DANN = {
    "title": "DANN",
    "note": "features that a critic can't tell apart",
    "adapt": {"dann": {"critic": {"widths": (64, 64)}}},
}
CDAN = {
    "title": "CDAN",
    "note": "the critic sees predictions too",
    "adapt": {"cdan": {"critic": {"widths": (64, 64)}}},
}
MCC = {
    "title": "MCC",
    "note": "predictions of the target confuse few classes",
    "adapt": {"mcc": {}},
}
SELF_TRAINING = {
    "title": "Self-training",
    "note": "pseudo-labels of the target above .95",
    "adapt": {"pseudo_labels": {"threshold": 0.95}},
}
WEIGHTING = {
    "title": "Weighting (KMM)",
    "note": "source rows weigh as much as the target is like them",
    "reweigh": {"kmm": {}},
}
FEATURES = {
    "source_only": SOURCE_ONLY,
    "coral": CORAL,
    "mmd": MMD,
    "dann": DANN,
    "cdan": CDAN,
    "mcc": MCC,
    "self_training": SELF_TRAINING,
    "weighting": WEIGHTING,
    "ceiling": CEILING,
}
"""What the studies over features compare, in this order."""


def two_domains(name: str, pairs: tuple[tuple[str, str], ...]) -> ConfigDict:
    """A study of these pairs, or of the only one: three seeds, the last weights."""
    config = base.get_config()
    config.name = name
    config.seeds = (0, 1, 2)
    config.reference = "source_only"
    config.data.source, config.shift.target = pairs[0]
    config.shift.pairs = pairs if len(pairs) > 1 else ()
    config.model.dropout = 0.0
    config.optimiser.schedule = "constant"
    config.optimiser.warmup = 0.0
    config.select = "last"
    config.allocator = "keep"
    return config


def over_features(config: ConfigDict, width: int) -> ConfigDict:
    """A network of one layer over what a frozen body makes of the rows."""
    config.shift.features = True
    config.shift.network = (width,)
    config.steps = 400
    config.batch_size = 64
    config.every.call = 50
    config.every.log = 100
    config.every.evaluate = 400
    return with_ways(config, FEATURES, {"rate": 1e-3})


def with_ways(config: ConfigDict, ways: dict, more: dict) -> ConfigDict:
    """The config with these strategies, each with `more`, all to be run."""
    config.strategies = ConfigDict({n: {**more, **own} for n, own in ways.items()})
    config.run = ",".join(ways)
    return config


def of_arg(
    arg: str, way: str, domains: tuple[str, ...], pairs: tuple, what: str
) -> tuple[bool, tuple[tuple[str, str], ...]]:
    """(Whether `way:` is asked for, the pairs): of `WAY:SOURCE,TARGET`, `WAY`, or ``.

    Raises ValueError.
    """
    given, _, pair = arg.rpartition(":") if arg != way else (way, "", "")
    if given not in ("", way):
        raise ValueError(f"{what}: {given!r}, expected {way}:SOURCE,TARGET")
    return bool(given), (pair_of(pair, domains, what),) if pair else pairs


def every_pair(domains: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """All ordered pairs of different domains."""
    return tuple((a, b) for a in domains for b in domains if a != b)


def pair_of(arg: str, domains: tuple[str, ...], what: str) -> tuple[str, str]:
    """The pair `SOURCE,TARGET` of a config's argument; raises ValueError."""
    names = tuple(part.strip() for part in arg.split(","))
    if len(names) != 2 or names[0] == names[1] or {*names} - {*domains}:
        raise ValueError(
            f"{what}: {arg!r}, expected SOURCE,TARGET, two of {', '.join(domains)}"
        )
    return names
