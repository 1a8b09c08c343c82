"""NumPy arrays in pickles: read exactly, and never run."""

import io
import os
import pickle
from contextlib import suppress

import numpy as np
import pytest

from tl_jax.pretrained import Damaged, Unsafe, files, numpy_pickles


def drawn(*shape, dtype="f4"):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


WEIGHTS = {
    "conv": [drawn(3, 3, 2, 4), drawn(4)],
    "fire2/squeeze": [drawn(1, 1, 4, 2), drawn(2)],
    "half": drawn(5, dtype="f2"),
    "double": drawn(2, 3, dtype="f8"),
    "turned": np.asfortranarray(drawn(3, 4)),
    "scalar": np.array(2.5, "f4"),
    "empty": np.zeros((0, 3), "f4"),
}
FLAT = {
    **{f"conv.{i}": a for i, a in enumerate(WEIGHTS["conv"])},
    **{f"fire2/squeeze.{i}": a for i, a in enumerate(WEIGHTS["fire2/squeeze"])},
    **{name: a for name, a in WEIGHTS.items() if not isinstance(a, list)},
}


def write(path, value, protocol=3):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def read(file):
    with numpy_pickles.opened(file) as found:
        return {name: found.get_tensor(name) for name in found.tensors}


@pytest.mark.parametrize("protocol, old", [(3, False), (3, True), (4, False)])
def test_every_array_by_name(protocol, old, tmp_path):
    raw, file = pickle.dumps(WEIGHTS, protocol), tmp_path / "w.pkl"
    assert b"numpy._core" in raw
    if old:  # before NumPy 2
        raw = raw.replace(b"numpy._core", b"numpy.core")
    file.write_bytes(raw)
    found = read(file)
    assert list(found) == list(FLAT)
    for name, array in FLAT.items():
        assert found[name].dtype == array.dtype
        assert found[name].flags.c_contiguous
        np.testing.assert_array_equal(found[name], array)


def test_files_are_read_by_their_suffix(tmp_path):
    tensors = files.scan(write(tmp_path / "w.pkl", WEIGHTS))
    assert tensors["conv.0"].shape == (3, 3, 2, 4)
    kinds = [tensors[name].dtype for name in ("conv.0", "half", "double")]
    assert kinds == ["F32", "F16", "F64"]
    files.write(FLAT, tmp_path / "w.safetensors")
    again = files.scan(tmp_path / "w.safetensors")
    assert files.content_hash(tensors) == files.content_hash(again)


class Runs:
    """Pickles as a call of `os.system`, the usual attack."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_a_malicious_pickle_runs_nothing(protocol, tmp_path):
    done = tmp_path / "done"
    file = write(tmp_path / "bad.pkl", {"conv": Runs(done)}, protocol)
    with pytest.raises((Unsafe, Damaged), match=r"bad\.pkl is"):
        numpy_pickles.header(file)
    assert not done.exists()
    pickle.loads(file.read_bytes())  # it would have
    assert done.exists()


@pytest.mark.parametrize(
    "value, text",
    [
        (Runs("x"), r"is not read: the pickle names (posix|nt)\.system"),
        ({"a": np.dtype("f4")}, "'a' is no array"),
        ({"a": np.zeros(2, object)}, "'a' has dtype .*O8, known: <f2, <f4, <f8"),
        ({"a": np.zeros(2, ">f4")}, "'a' has dtype >f4"),
        ({"a": np.zeros(2, "i8")}, "'a' has dtype <i8"),
        ({"a": 1}, "'a' is no array"),
        ({"a": [[np.zeros(2, "f4")]]}, "'a.0' is no array"),
        ({3: np.zeros(2, "f4")}, "under 3, expected a name"),
        ({"a": [np.zeros(2, "f4")], "a.0": np.zeros(2, "f4")}, "holds 'a.0' twice"),
        ({}, "holds a dict, expected arrays"),
        ([np.zeros(2, "f4")], "holds a list, expected arrays"),
        ({"a": {1, 2}}, "instruction|names"),
    ],
)
def test_what_is_no_weights_is_named(value, text, tmp_path):
    file = write(tmp_path / "bad.pkl", value)
    with pytest.raises((Damaged, Unsafe), match=text):
        numpy_pickles.header(file)


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"\x80\x03}(X\x01\x00\x00\x00au.", "damaged"),
        (b"\x80\x03R.", "lacks what it takes"),
        (b"\x80\x03(\x85.", "lacks what it takes"),
        (b"\x80\x03u.", "lacks its mark"),
        (b"\x80\x03NNb.", "expects a Made"),
        (b"\x80\x03NN\x85R.", "calls a NoneType"),
        (b"\x80\x03NN.", "ends with 2 things"),
        (b"\x80\x03h\x07.", "damaged"),
        (b"\x80\x03Q.", "instruction BINPERSID"),
        (b"\x80\x03cos\nsystem\n.", r"names os\.system"),
        (b"\x80\x03cnumpy\nload\n.", r"names numpy\.load"),
        (b"", "damaged"),
        (b"hello", "damaged"),
        (b"PK\x03\x04", "damaged"),
    ],
)
def test_broken_instructions_raise(raw, text, tmp_path):
    (tmp_path / "bad.pkl").write_bytes(raw)
    with pytest.raises((Damaged, Unsafe), match=rf"bad\.pkl is .*{text}"):
        numpy_pickles.header(tmp_path / "bad.pkl")


def test_shapes_are_checked_against_the_numbers(tmp_path):
    raw = pickle.dumps({"a": np.zeros((7, 2), "f4")}, 3)
    place = raw.index(b"K\x07K\x02")
    for wrong in (b"K\x08K\x02", b"K\x07K\x01"):
        file = tmp_path / "bad.pkl"
        file.write_bytes(raw[:place] + wrong + raw[place + 4 :])
        with pytest.raises(Damaged, match="has not as many numbers"):
            numpy_pickles.header(file)


def test_cut_and_flipped_files_never_do_worse(tmp_path):
    whole = bytearray(pickle.dumps(WEIGHTS, 3))
    file = tmp_path / "bad.pkl"
    for end in range(0, len(whole), 13):
        file.write_bytes(whole[:end])
        with pytest.raises(Damaged):
            numpy_pickles.header(file)
    for at in range(0, len(whole), 3):
        raw = whole.copy()
        raw[at] ^= 0xFF
        file.write_bytes(raw)
        with suppress(Damaged, Unsafe):
            read(file)


def test_only_the_first_pickle_of_a_file_counts(tmp_path):
    """What follows the end is never looked at."""
    out = io.BytesIO(pickle.dumps({"a": WEIGHTS["half"]}, 3))
    out.seek(0, io.SEEK_END)
    pickle.dump(Runs(tmp_path / "done"), out)
    (tmp_path / "two.pkl").write_bytes(out.getvalue())
    assert list(read(tmp_path / "two.pkl")) == ["a"]
