"""The plans of a strategy: what a run starts from and what it ends with."""

from ml_collections import ConfigDict

from experiments.problem import Problem
from experiments.strategies import Phase, Strategy
from tl_jax.transfer import full, new_head, stack_layers, unstack_layers
from tl_jax.tree import stable_key
from tl_jax.types import Key, Plan


def first_plan(problem: Problem, strategy: Strategy, key: Key) -> Plan:
    """All weights moving, pretrained or fresh, with a new head if one is read."""
    base = problem.base
    if strategy.pretrained:
        params, stats = base.params, base.stats
    else:
        params, stats = base.model.init(stable_key(key, "scratch"))
    plan = full(params, stats)
    for make in strategy.first:
        plan = make(len(problem.classes))(key, plan)
    width = problem.width(strategy.phases[0].recipe.head)
    if width is None:
        return plan
    return new_head(width, base.model.width)(key, plan)


def next_plan(config: ConfigDict, phase: Phase, key: Key, plan: Plan) -> Plan:
    """The plan of a phase from the one before; its equal blocks joined if asked for."""
    plan = phase.transfer(stable_key(key, phase.name), unstack_layers(plan))
    return stack_layers(plan) if config.model.stack else plan


def last_plan(problem: Problem, strategy: Strategy, key: Key) -> Plan:
    """The plan that a run ends with, before any training; blocks one by one."""
    plan = first_plan(problem, strategy, key)
    for phase in strategy.phases:
        plan = phase.transfer(stable_key(key, phase.name), plan)
    return plan


def base_params(problem: Problem, strategy: Strategy) -> dict:
    """What a checkpoint need not hold: the pretrained weights."""
    return problem.base.params if strategy.pretrained else {}
