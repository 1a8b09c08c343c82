"""Which of our sites is which module of the model that PEFT wraps."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tl_jax.pretrained.family import Recipe
from tl_jax.pretrained.names import Name, full, plain
from tl_jax.pretrained.saving import described
from tl_jax.tree import drop, no_match, sites
from tl_jax.types import Params, Pretrained

TASKS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "Model": "FEATURE_EXTRACTION",
}
"""End of an architecture's name -> PEFT's task; none for others."""
LIVE: Mapping[str, Sequence[tuple[str, str]]] = {
    "vit": (
        ("encoder.layer.{i}.attention.attention.query", "layers.{i}.attention.q_proj"),
        ("encoder.layer.{i}.attention.attention.key", "layers.{i}.attention.k_proj"),
        ("encoder.layer.{i}.attention.attention.value", "layers.{i}.attention.v_proj"),
        ("encoder.layer.{i}.attention.output.dense", "layers.{i}.attention.o_proj"),
        ("encoder.layer.{i}.intermediate.dense", "layers.{i}.mlp.fc1"),
        ("encoder.layer.{i}.output.dense", "layers.{i}.mlp.fc2"),
        ("encoder.layer.{i}", "layers.{i}"),
    )
}
"""Model type -> (name in a file of weights, name of the module in transformers 5)."""


class Modules(NamedTuple):
    """A model's sites by the names of modules, which have lost the family's prefix."""

    architecture: str
    config: Mapping[str, Any]
    recipe: Recipe
    sites: Mapping[str, str]
    """Module -> our site."""
    leaves: Mapping[str, Name]
    """The file's tensor -> our leaf."""

    def plain(self, name: str) -> str:
        """A name of the file without the family's prefix, as files of weights have it.

        Modules of transformers 4 have the names of files, so both are known.
        """
        return renamed(plain(name, self.recipe.layout.prefix), self._pairs(1))

    def site(self, module: str) -> str:
        """Our site of a module; raises `NoMatch` with the nearest modules."""
        known = self.plain(module)
        if known not in self.sites:
            raise no_match("module", module, self.sites)
        return self.sites[known]

    def module(self, site: str) -> str:
        """The module of a site, as today's transformers names it."""
        for module, own in self.sites.items():
            if own == site:
                return self.full(module)
        raise no_match(f"{self.architecture} has no module for site", site, self._own())

    def full(self, name: str) -> str:
        """A plain name as today's transformers has it."""
        name = renamed(name, self._pairs(0))
        return full(name, self.recipe.layout, self.recipe.bare)

    def _pairs(self, first: int) -> Iterable[tuple[str, str]]:
        for pair in LIVE.get(self.config["model_type"], ()):
            yield pair[first], pair[1 - first]

    def _own(self) -> Iterable[str]:
        return self.sites.values()

    @property
    def task(self) -> str | None:
        """PEFT's name of the task, if it has one for the architecture."""
        ends = (e for e in TASKS if self.architecture.endswith(e))
        return TASKS.get(max(ends, key=len, default=""))


def renamed(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The name with the first beginning of a pair that it has as the second."""
    for old, new in pairs:
        begin = re.escape(old).replace(r"\{i\}", r"(\d+)")
        if found := re.match(rf"{begin}(?=\.|$)", name):
            return new.format(i=found[1]) + name[found.end() :]
    return name


def modules_of(pretrained: Pretrained, params: Params) -> Modules:
    """The modules of the architecture that holds `params`, patches aside.

    Raises ValueError for a tree that transformers has no architecture for.
    """
    config, recipe = described(pretrained._replace(params=bare(params)), None)
    leaves = {name.theirs: name for name in recipe.layout.names}
    found = {}
    for theirs, name in leaves.items():
        module, _, kind = theirs.rpartition(".")
        if kind in ("weight", "bias"):
            found[module] = name.ours.rpartition("/")[0]
    return Modules(config["architectures"][0], config, recipe, found, leaves)


def with_head(pretrained: Pretrained, shapes: Mapping[str, tuple[int, ...]]) -> Params:
    """Parameters with a head as an adapter's file holds it, if it holds one.

    `shapes` are those of the file's tensors of whole modules, plain names. Only heads
    of one linear layer are made; others must be the base's own.
    """
    heads = modules_of(pretrained, pretrained.params).recipe.layout.heads
    own = [
        name
        for name in shapes
        if name.count(".") == 1
        and name.endswith(".weight")
        and name.split(".")[0] in heads
        and len(shapes[name]) == 2
    ]
    if len(own) != 1:
        return pretrained.params
    classes, width = shapes[own[0]]
    head = {"kernel": np.zeros((width, classes), np.float32)}
    if own[0].replace(".weight", ".bias") in shapes:
        head["bias"] = np.zeros(classes, np.float32)
    return pretrained.params | {"head": head}


def bare(params: Params) -> Params:
    """The tree without any patch."""
    for path, site in sites(params).items():
        if "patch" in site:
            params = drop(params, f"{path}/patch" if path else "patch")
    return params
