"""Axes, rules and clusters from text: what is found and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from tl_jax import distribute
from tl_jax.distribute import apply_rules, cluster_of, describe_rules, parse_axes
from tl_jax.models import bert
from tl_jax.transfer import chain, freeze, full, lora, stack_layers
from tl_jax.tree import NoMatch

AXES = {"data": 2, "fsdp": 2, "model": 2}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (8, 1, 1)),
        ("data", (8, 1, 1)),
        ("fsdp", (1, 8, 1)),
        ("data=4,model=2", (4, 1, 2)),
        ("model=2, data=-1", (4, 1, 2)),
        ("data=2,fsdp=2,model=2", (2, 2, 2)),
    ],
)
def test_axes_from_text(text, found):
    assert tuple(parse_axes(text, 8).values()) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dat=2", "nearest: data"),
        ("data=2,data=4", "twice"),
        ("data=two", "expected a whole number"),
        ("data=0", "expected a whole number"),
        ("data,fsdp", "have no size"),
        ("data=3", "but there are 8"),
        ("fsdp,model=3", "a multiple of 3"),
    ],
)
def test_axes_that_cannot_be(text, words):
    with pytest.raises(ValueError, match=words):
        parse_axes(text, 8)


@pytest.fixture(scope="module")
def state():
    """Shapes of a LoRA'd BERT, its moments and a norm's statistics."""
    model = bert(vocabulary=64, width=16, depth=3, heads=2, hidden=32, positions=8)

    def make():
        plan = full(*model.init(jax.random.key(0)))
        method = chain(freeze(".*"), lora(4, ".*/attention/(query|output)"))
        plan = stack_layers(method(jax.random.key(1), plan))
        opt = optax.adamw(1e-3).init(plan.params)
        stats = {"norm": {"mean": jnp.zeros(16), "var": jnp.ones(16)}}
        return {"train": plan.params, "opt": opt, "stats": stats}

    return jax.eval_shape(make)


def test_rules_cover_base_patches_moments_and_statistics(state):
    specs = apply_rules(distribute.RULES, state, AXES).specs
    block = "train/blocks/0-2"
    assert specs["train/embed/tokens/embedding"] == P("model", "fsdp")
    assert specs[f"{block}/attention/query/kernel"] == P(None, "fsdp", "model")
    assert specs[f"{block}/attention/query/bias"] == P(None, "model")
    assert specs[f"{block}/attention/output/kernel"] == P(None, "model", "fsdp")
    assert specs[f"{block}/attention/query/patch/lora/b"] == P(None, None, "model")
    assert specs[f"{block}/attention/query/patch/lora/a"] == P()
    assert specs[f"{block}/attention/output/patch/lora/a"] == P(None, "model")
    for name in ("mu", "nu"):
        moment = f"opt/0/{name}/blocks/0-2/mlp/down/kernel"
        assert specs[moment] == specs[f"{block}/mlp/down/kernel"] != P()
    assert specs["opt/0/count"] == specs["stats/norm/mean"] == P()


def test_first_rule_holds_and_idle_ones_are_told(state):
    rules = ((r".*/bias", ()), ("blocks/9/.*", ("data",)), *distribute.RULES)
    found = apply_rules(rules, state, AXES)
    assert found.specs["train/blocks/0-2/attention/query/bias"] == P()
    assert "blocks/9/.*" in found.unused
    assert r".*/bias" not in found.unused


def test_what_does_not_divide_stays_whole():
    tree = {"head": {"kernel": np.zeros((4, 3), np.float32)}}
    found = apply_rules(((r"head/kernel", ("model", "fsdp")),), tree, AXES)
    assert found.specs["head/kernel"] == P("model")
    assert found.whole == ("head/kernel: 3 does not divide by fsdp=2",)
    table = describe_rules(found, tree, AXES).splitlines()
    assert table[1].split()[:3] == ["1", "0.00", "0.00"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (("head/.*", ("modell",)), "nearest: model"),
        (("head/.*", ("data", "data")), "twice"),
        (("head/(", ("data",)), "no regular expression"),
    ],
)
def test_rules_that_cannot_be(rule, words):
    with pytest.raises(ValueError, match=words):
        apply_rules((rule,), {"a": np.zeros(2)}, AXES)


def test_clusters_from_flags_and_environment():
    assert cluster_of(environ={}) is None
    whole = cluster_of("host:99", 2, 1, environ={})
    assert whole == distribute.Cluster("host:99", 2, 1)
    environ = {"JAX_COORDINATOR_ADDRESS": "h:1", "JAX_NUM_PROCESSES": "4"}
    job = cluster_of(environ=environ | {"JOB_COMPLETION_INDEX": "3"})
    assert job == distribute.Cluster("h:1", 4, 3)
    own = cluster_of(environ=environ | {"JAX_PROCESS_ID": "0"})
    assert own.process == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(coordinator="h:1"), "--processes is missing"),
        (dict(coordinator="h", processes=2, process=0), "expected host:port"),
        (dict(coordinator="h:1", processes=2, process=2), "expected 0 to 1"),
        (dict(method="slurm", processes=2), "leave --coordinator"),
    ],
)
def test_clusters_that_cannot_be(given, words):
    with pytest.raises(ValueError, match=words):
        cluster_of(**given, environ={})
    with pytest.raises(NoMatch, match="nearest: slurm"):
        cluster_of(method="slrm", environ={})


def of_jax(text):
    return jax.errors.JaxRuntimeError(text)


def behind(text):
    """As a checkpoint's error comes: JAX's own stands behind a `from None`."""
    try:
        try:
            raise of_jax(text)
        except jax.errors.JaxRuntimeError:
            raise OSError("step 3 was not saved") from None
    except OSError as error:
        return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (of_jax("Gloo all-reduce failed: Connection closed by peer [::1]:1"), True),
        (behind("DEADLINE_EXCEEDED: Barrier timed out. Id: async_write"), True),
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection closed"), True),
        (of_jax("RESOURCE_EXHAUSTED: out of memory"), False),
        (ValueError("config.name is 'barrier', unavailable"), False),
        (TimeoutError("the download timed out: connection reset"), False),
    ],
)
def test_errors_of_lost_processes_are_told_apart(error, told, monkeypatch):
    assert distribute.lost(error) is None  # there is one process
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    found = distribute.lost(error)
    assert (found is not None) == told
    if told:
        assert "Start all processes again" in str(found)
