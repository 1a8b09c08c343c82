"""Adaptation from a source to a target domain: terms over both, and algorithms."""

from tl_jax.algorithms.adaptation.adabn import adabn, target_statistics
from tl_jax.algorithms.adaptation.adapted import adapted
from tl_jax.algorithms.adaptation.adda import ANCHOR, adda
from tl_jax.algorithms.adaptation.ccsa import ccsa
from tl_jax.algorithms.adaptation.cdan import cdan
from tl_jax.algorithms.adaptation.cycada import cycada
from tl_jax.algorithms.adaptation.cyclegan import cyclegan
from tl_jax.algorithms.adaptation.dann import dann
from tl_jax.algorithms.adaptation.entropy import entropy_minimisation
from tl_jax.algorithms.adaptation.feature_norms import bsp, hafn, safn
from tl_jax.algorithms.adaptation.fixmatch import fixmatch
from tl_jax.algorithms.adaptation.flexmatch import flexmatch
from tl_jax.algorithms.adaptation.forward import forward
from tl_jax.algorithms.adaptation.fourier import fourier, low_amplitudes
from tl_jax.algorithms.adaptation.mcc import bnm, information_maximisation, mcc
from tl_jax.algorithms.adaptation.mcd import mcd
from tl_jax.algorithms.adaptation.mdd import mdd
from tl_jax.algorithms.adaptation.mean_teacher import mean_teacher, taught
from tl_jax.algorithms.adaptation.mme import mme
from tl_jax.algorithms.adaptation.noisy_student import (
    noisy_student,
    taught_by,
    teacher_logits,
)
from tl_jax.algorithms.adaptation.pada import check_label_sets, pada
from tl_jax.algorithms.adaptation.pseudo_labels import pseudo_labels
from tl_jax.algorithms.adaptation.seen import Before, Found, Seen, Side, Term
from tl_jax.algorithms.adaptation.semantic import semantic
from tl_jax.algorithms.adaptation.shot import shot
from tl_jax.algorithms.adaptation.soft_transfer import soft_transfer
from tl_jax.algorithms.adaptation.streams import (
    IMPORTANCE,
    LABELLED,
    SOURCE,
    TARGET,
    LeakedLabels,
    importance,
    sealed,
    unlabelled,
)
from tl_jax.algorithms.adaptation.t3a import t3a
from tl_jax.algorithms.adaptation.tent import tent
from tl_jax.algorithms.adaptation.translated import translated
from tl_jax.algorithms.adaptation.views import dropped, hidden_tokens, noisy
from tl_jax.algorithms.adaptation.wdgrl import wdgrl

__all__ = [
    "ANCHOR",
    "IMPORTANCE",
    "LABELLED",
    "SOURCE",
    "TARGET",
    "Before",
    "Found",
    "LeakedLabels",
    "Seen",
    "Side",
    "Term",
    "adabn",
    "adapted",
    "adda",
    "bnm",
    "bsp",
    "ccsa",
    "cdan",
    "check_label_sets",
    "cycada",
    "cyclegan",
    "dann",
    "dropped",
    "entropy_minimisation",
    "fixmatch",
    "flexmatch",
    "forward",
    "fourier",
    "hafn",
    "hidden_tokens",
    "importance",
    "information_maximisation",
    "low_amplitudes",
    "mcc",
    "mcd",
    "mdd",
    "mean_teacher",
    "mme",
    "noisy",
    "noisy_student",
    "pada",
    "pseudo_labels",
    "safn",
    "sealed",
    "semantic",
    "shot",
    "soft_transfer",
    "t3a",
    "target_statistics",
    "taught",
    "taught_by",
    "teacher_logits",
    "tent",
    "translated",
    "unlabelled",
    "wdgrl",
]
