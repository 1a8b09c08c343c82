"""Generalisation from several source domains to one that nobody has seen.

Terms of `adaptation.adapted` over `{"source": stream}` alone, whose inputs bring a
column `domain` [B] of whole numbers; they add up with those of adaptation.
"""

from tl_jax.algorithms.generalisation.group_dro import group_dro
from tl_jax.algorithms.generalisation.irm import irm
from tl_jax.algorithms.generalisation.mixup import mixup_domains
from tl_jax.algorithms.generalisation.risks import DOMAIN
from tl_jax.algorithms.generalisation.vrex import vrex

__all__ = ["DOMAIN", "group_dro", "irm", "mixup_domains", "vrex"]
