"""Statistics and norms of domains; adaptation while testing, as configs know them."""

from collections.abc import Mapping

from experiments.shift.entry import Entry
from tl_jax.algorithms.adaptation import TARGET
from tl_jax.algorithms.adaptation.adabn import adabn
from tl_jax.algorithms.adaptation.feature_norms import bsp, hafn, safn
from tl_jax.algorithms.adaptation.shot import shot
from tl_jax.algorithms.adaptation.t3a import t3a
from tl_jax.algorithms.adaptation.tent import tent

ANY = ("classification", "regression")
NORMALISATION: Mapping[str, Entry] = {
    "hafn": Entry(hafn, tasks=ANY),
    "safn": Entry(safn, tasks=ANY),
    "bsp": Entry(bsp, tasks=ANY),
    "adabn": Entry(adabn, whole=True, streams=TARGET, tasks=ANY),
    "tent": Entry(tent, whole=True, streams=TARGET),
    "shot": Entry(shot, streams=TARGET),
    "t3a": Entry(t3a, whole=True, streams=TARGET),
}
"""Those that read the target alone follow a phase that learns from the source. `shot`
finds rows by their numbers: it gets as `examples` the rows of all domains together."""
