"""Ways to learn from one domain for another, as data; configs add rates of their own.

Strengths, kernels, temperatures and thresholds are those of the papers: nothing here
was chosen by labels of a target.
"""

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
