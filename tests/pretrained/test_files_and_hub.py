"""A model's files: shards, what is damaged or absent, and what a hub is asked for."""

import json

import pytest
from bert_folders import QUERY, equal

from tl_jax import pretrained
from tl_jax.pretrained import files


def shards(folder, count=3, **extra):
    """Cut model.safetensors into shards with an index; `extra` overrides entries."""
    arrays = dict(files.read(files.scan(folder)))
    (folder / files.WEIGHTS).rename(folder.parent / "whole")
    listed = {}
    for i in range(count):
        name = f"model-{i + 1:05}-of-{count:05}.safetensors"
        own = {k: arrays[k] for k in sorted(arrays)[i::count]}
        files.write(own, folder / name)
        listed |= dict.fromkeys(own, name)
    index = {"metadata": {}, "weight_map": listed | extra}
    (folder / files.INDEX).write_text(json.dumps(index))
    return folder


def test_shards_are_one_model(edited, tiny_bert):
    found = pretrained.load(shards(edited("bert_model")))
    assert equal(found.params, tiny_bert.params)
    assert found.source["hash"] == tiny_bert.source["hash"]


@pytest.mark.parametrize(
    "extra, text",
    [
        ({QUERY: "../whole"}, "leaves the folder"),
        ({QUERY: "/etc/passwd"}, "leaves the folder"),
        ({QUERY: "a\\b"}, "leaves the folder"),
        ({QUERY: ".."}, "leaves the folder"),
        ({QUERY: "model-9.safetensors"}, "model-9.safetensors, which is not there"),
        ({"ghost": "model-00001-of-00003.safetensors"}, "no shard holds ghost"),
    ],
)
def test_bad_indices_raise(extra, text, edited):
    with pytest.raises(pretrained.Damaged, match=text):
        pretrained.load(shards(edited("bert_model"), **extra))


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda raw: raw[:-100], "truncated"),
        (lambda raw: raw[:40], "damaged"),
        (lambda raw: b"", "damaged"),
        (lambda raw: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
)
def test_damaged_weights_name_the_file(spoil, text, edited):
    folder = edited("bert_model")
    file = folder / files.WEIGHTS
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(pretrained.Damaged, match=text) as error:
        pretrained.load(folder)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("text", ['{"model_type": ', "[]", "\udcff"])
def test_damaged_config_names_the_file(text, edited):
    folder = edited("bert_model")
    (folder / files.CONFIG).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(pretrained.Damaged, match=r"config\.json"):
        pretrained.load(folder)


def test_absent_files_are_named(edited, tmp_path):
    folder = edited("bert_model")
    (folder / files.WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(pretrained.Damaged, match=r"pytorch_model\.bin is damaged"):
        pretrained.load(folder)
    (folder / "pytorch_model.bin").rename(folder / files.SHARDED)
    with pytest.raises(FileNotFoundError, match=r"bin\.index\.json.*alone"):
        pretrained.load(folder)
    (folder / files.SHARDED).unlink()
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors nor"):
        pretrained.load(folder)
    (folder / files.CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        pretrained.load(folder)


@pytest.mark.parametrize("spec", ["./nowhere", "/no/where", "~/no", "a/b/c", "x y"])
def test_paths_that_do_not_exist_never_ask_a_hub(spec):
    with pytest.raises(pretrained.NotFound, match=r"does not exist.*minilm"):
        pretrained.load(spec)


def test_a_file_is_no_folder(golden):
    with pytest.raises(ValueError, match="give architecture=.*or give its folder"):
        pretrained.load(golden / "bert/bert_model/model.safetensors")
    with pytest.raises(pretrained.NotFound, match=r"no file of weights \(.*its folder"):
        pretrained.load(golden / "bert/bert_model/config.json")


def test_hub_that_does_not_answer(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def offline(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(pretrained.NotFound, match="no route") as error:
        pretrained.load("minilm-l6")
    for part in ("config.json", "model.safetensors", "nearest asset: 'minilm'"):
        assert part in str(error.value)


def test_hub_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(pretrained.NotFound, match="not installed"):
        pretrained.load("owner/name")


def test_hub_gives_only_safe_files(monkeypatch, golden, tiny_bert):
    hub = pytest.importorskip("huggingface_hub")
    asked = {}

    def give(spec, revision, allow_patterns):
        asked.update(spec=spec, revision=revision, files=allow_patterns)
        return str(golden / "bert/bert_model")

    monkeypatch.setattr(hub, "snapshot_download", give)
    found = pretrained.load("owner/name", revision="abc")
    assert equal(found.params, tiny_bert.params)
    assert (asked["spec"], asked["revision"]) == ("owner/name", "abc")
    assert not any(f.endswith((".bin", ".py", ".pt", "*")) for f in asked["files"])


def test_weights_do_not_hang_on_the_file(edited, tiny_bert):
    folder = edited("bert_model")
    found = pretrained.load(folder)
    file = folder / files.WEIGHTS
    with file.open("r+b") as raw:
        raw.write(b"\0" * file.stat().st_size)
    assert equal(found.params, tiny_bert.params)
