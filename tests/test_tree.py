"""Paths, rules, partition and merge of nested dicts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import tree
from tl_jax.tree import NoMatch, node, static
from tl_jax.types import Array


@node
class Pair:
    """Two leaves and a word of the structure."""

    a: Array
    b: Array
    word: str = static("w")


@pytest.fixture
def model():
    return {
        "blocks": {
            "2": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)},
            "10": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)},
        },
        "head": {"kernel": jnp.ones((3, 1))},
    }


def test_flatten_and_unflatten(model):
    flat = tree.flatten(model)
    assert list(flat) == tree.paths(model)
    assert set(flat) == {
        *("blocks/2/kernel", "blocks/2/bias", "blocks/10/kernel", "blocks/10/bias"),
        "head/kernel",
    }
    assert flat["head/kernel"] is model["head"]["kernel"]
    again = tree.unflatten(flat)
    assert jax.tree.structure(again) == jax.tree.structure(model)
    assert tree.flatten(again)["head/kernel"] is flat["head/kernel"]
    assert tree.flatten({}) == tree.unflatten({}) == {}


def test_holes_are_no_leaves_and_nodes_have_paths():
    tall = {"site": {"kernel": 1.0, "hole": None, "patch": {"p": Pair(2.0, 3.0)}}}
    assert tree.flatten(tall) == {
        "site/kernel": 1.0,
        "site/patch/p/a": 2.0,
        "site/patch/p/b": 3.0,
    }


def test_map_with_path(model):
    got = tree.map_with_path(lambda path, x, y: (path, x.shape, y), model, model)
    assert got["blocks"]["10"]["bias"][:2] == ("blocks/10/bias", (3,))
    assert got["head"]["kernel"][2] is model["head"]["kernel"]


def test_sites_do_not_enter_patches():
    params = {"a": {"kernel": 1, "patch": {"p": {"deep": {"x": 1}}}}, "b": {}}
    assert list(tree.sites(params)) == ["", "a", "b"]
    assert tree.sites(params)["a"] is params["a"]


def test_get(model):
    assert tree.get(model, "") is model
    assert tree.get(model, "blocks/2") is model["blocks"]["2"]
    assert tree.get(model, "head/kernel") is model["head"]["kernel"]


@pytest.mark.parametrize(
    "path, nearest",
    [
        ("haed", "nearest: head"),
        ("blocks/3", "nearest: 2"),
        ("head/kernel/0", "there is none at all"),
    ],
)
def test_get_names_the_nearest(model, path, nearest):
    with pytest.raises(NoMatch, match=f"'{path}' matches nothing; {nearest}"):
        tree.get(model, path)


def test_put_copies_the_way_and_shares_the_rest(model):
    new = tree.put(model, "blocks/2/kernel", 5)
    assert new["blocks"]["2"]["kernel"] == 5
    assert isinstance(model["blocks"]["2"]["kernel"], Array)
    assert new["blocks"]["10"] is model["blocks"]["10"]
    assert new["head"] is model["head"]
    deep = tree.put({}, "a/b/c", 1)
    assert deep == {"a": {"b": {"c": 1}}}
    assert tree.put(model, "", 7) == 7


def test_drop(model):
    new = tree.drop(model, "blocks/2/bias")
    assert list(new["blocks"]["2"]) == ["kernel"]
    assert "bias" in model["blocks"]["2"]
    assert list(tree.drop(model, "head/kernel")) == ["blocks"]
    assert list(tree.drop(model, "blocks")) == ["head"]
    assert tree.flatten(tree.drop(model, "no/such")) == tree.flatten(model)


def test_partition_and_merge(model):
    chosen = tree.map_with_path(lambda path, _: path.endswith("bias"), model)
    yes, no = tree.partition(model, chosen)
    assert tree.paths(yes) == ["blocks/10/bias", "blocks/2/bias"]
    assert yes["head"]["kernel"] is None
    assert no["blocks"]["2"]["bias"] is None
    for merged in (tree.merge(yes, no), tree.merge(no, yes)):
        assert jax.tree.structure(merged) == jax.tree.structure(model)
        pairs = zip(jax.tree.leaves(merged), jax.tree.leaves(model), strict=True)
        assert all(a is b for a, b in pairs)


def test_merge_prefers_the_first_and_keeps_holes():
    assert tree.merge({"a": 1, "b": None}, {"a": 2, "b": None}) == {"a": 1, "b": None}


def test_partition_refuses_another_structure(model):
    with pytest.raises(ValueError):
        tree.partition(model, {"head": {"kernel": True}})


def test_carry(model):
    old = {
        "blocks": {"2": {"kernel": jnp.full((2, 3), 7.0), "bias": jnp.ones(4)}},
        "head": {"kernel": jnp.ones((3, 1), jnp.bfloat16)},
        "gone": jnp.ones(1),
    }
    new = tree.carry(old, model)
    assert jax.tree.structure(new) == jax.tree.structure(model)
    assert new["blocks"]["2"]["kernel"] is old["blocks"]["2"]["kernel"]
    assert new["blocks"]["2"]["bias"] is model["blocks"]["2"]["bias"]
    assert new["head"]["kernel"] is model["head"]["kernel"]
    assert new["blocks"]["10"]["bias"] is model["blocks"]["10"]["bias"]


def test_same_bytes():
    x = np.array([1.0, np.nan], np.float32)
    assert tree.same_bytes(x, x)
    assert tree.same_bytes(x, x.copy())
    assert tree.same_bytes(jnp.asarray(x), x)
    assert not tree.same_bytes(x, x.astype(np.float64))
    assert not tree.same_bytes(x, x[None])
    assert not tree.same_bytes(np.float32([0.0]), np.float32([-0.0]))


def test_diff(model):
    tuned = tree.put(model, "blocks/2/bias", jnp.ones(3))
    tuned = tree.put(tuned, "head/patch/p", Pair(jnp.ones(1), jnp.ones(2)))
    found = tree.diff(tuned, model)
    assert set(found) == {"blocks/2/bias", "head/patch/p/a", "head/patch/p/b"}
    assert found["blocks/2/bias"] is tuned["blocks"]["2"]["bias"]
    assert tree.diff(model, jax.tree.map(jnp.copy, model)) == {}


def test_count_and_copy(model):
    assert tree.count(model) == 2 * (6 + 3) + 3
    assert tree.count({"a": None, "b": 1.0}) == 1
    fresh = tree.copy(model)
    jax.tree.map(np.testing.assert_array_equal, fresh, model)
    here = model["head"]["kernel"].unsafe_buffer_pointer()
    assert fresh["head"]["kernel"].unsafe_buffer_pointer() != here


def test_stable_keys():
    key = jax.random.key(0)

    def bits(*names):
        return jax.random.key_data(tree.stable_key(key, *names)).tolist()

    assert bits("lora", "blocks/0") == bits("lora", "blocks/0")
    names = [("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",), ()]
    assert len({tuple(bits(*own)) for own in names}) == len(names)
    # By content alone: these values hold on every machine and in every process.
    assert bits("lora") == [3994146972, 431222432]


def test_matches_are_full():
    known = ["head/kernel", "head/bias", "blocks/1/head/kernel"]
    assert tree.matches("head/.*", known) == known[:2]
    assert tree.matches(".*/kernel", known) == [known[0], known[2]]
    with pytest.raises(NoMatch, match=r"rule 'head' matches nothing; nearest: head/"):
        tree.matches("head", known)


@pytest.mark.parametrize(
    "rule, known, message",
    [
        ("blocks/9/.*", ["blocks/0/bias"], "nearest: blocks/0/bias"),
        ("x", [], "there is none at all"),
        ("(", ["a"], r"rule '\(' is no regular expression"),
    ],
)
def test_rules_that_match_nothing(rule, known, message):
    with pytest.raises(ValueError, match=message):
        tree.matches(rule, known)


def test_the_kind_of_a_rule_is_named():
    with pytest.raises(NoMatch, match="freeze 'b' matches nothing; nearest: a"):
        tree.matches("b", ["a"], "freeze")


def test_nearest():
    known = ["blocks/0/attention/query", "blocks/0/mlp/up", "head/kernel"]
    assert tree.nearest("blocks/0/atention/qury", known, 1) == known[:1]
    assert tree.nearest(r"blocks/\d+/mlp/upp", known, 1) == [known[1]]
    assert len(tree.nearest("zzz", known)) == 3
    assert tree.nearest("a", []) == []


def test_nodes_are_frozen_and_keep_their_words():
    pair = Pair(jnp.ones(2), jnp.zeros(1), "word")
    doubled = jax.tree.map(lambda x: 2 * x, pair)
    assert doubled.word == "word"
    assert jax.tree.structure(pair) != jax.tree.structure(Pair(pair.a, pair.b))
    with pytest.raises(AttributeError):
        pair.a = 1
