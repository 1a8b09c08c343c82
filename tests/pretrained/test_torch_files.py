"""Files of `torch.save`: read exactly, and never run."""

import os
import pickle
import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from torch_made import SIX, as_stream, as_zip, tensor

from tl_jax.pretrained import Damaged, Unsafe, files, torch_files

FORMATS = ("zip", "stream")


@pytest.fixture
def values(golden) -> dict[str, np.ndarray]:
    with np.load(golden / "torch/values.npz") as file:
        return dict(file)


def read(file) -> dict[str, np.ndarray]:
    with torch_files.opened(file) as found:
        return {name: found.get_tensor(name) for name in found.tensors}


def check(found, values) -> None:
    assert list(found) == list(values)
    for name, array in values.items():
        got = found[name].astype("f") if name == "bfloat16" else found[name]
        assert got.dtype == array.dtype, name
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("form", FORMATS)
def test_recorded_files(form, golden, values):
    check(read(golden / f"torch/{form}.pth"), values)


def test_dtypes_are_named_as_in_safetensors(golden):
    found = files.scan(golden / "torch/zip.pth")
    names = ("plain", "bfloat16", "float16", "int64", "bool", "int8")
    kinds = ["F32", "BF16", "F16", "I64", "BOOL", "I8"]
    assert [found[n].dtype for n in names] == kinds
    assert found["turned"].shape == (6, 4)


def test_both_formats_have_one_hash(golden):
    one, other = (files.scan(golden / f"torch/{form}.pth") for form in FORMATS)
    assert files.content_hash(one) == files.content_hash(other)


class Runs:
    """Pickles as a call of `os.system`, the usual attack."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("write", [as_zip, as_stream])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_runs_nothing(write, protocol, tmp_path):
    done = tmp_path / "done"
    raw = pickle.dumps({"weight": Runs(done)}, protocol)
    write(tmp_path / "bad.pth", raw)
    with pytest.raises(Unsafe, match=r"bad\.pth is not read.*(posix|nt)\.system"):
        torch_files.header(tmp_path / "bad.pth")
    assert not done.exists()
    pickle.loads(raw)  # it would have
    assert done.exists()


@pytest.mark.parametrize(
    "line, text",
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"ctorch._utils\n_rebuild_device_tensor_from_numpy\n.", "from_numpy"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"ctl_jax.pretrained.torch_files\nopened\n.", "torch_files.opened"),
        (b"(ios\nsystem\n(S'true'\ntR.", "os.system|unknown|damaged"),
        (b"cos.path\n__builtins__\n.", "os.path.__builtins__"),
        (b"ccollections\nOrderedDict.fromkeys\n.", "OrderedDict.fromkeys"),
        (b"(S'module'\nS'x'\ntQ.", "no storage"),
    ],
)
def test_only_known_names_are_found(line, text, tmp_path):
    as_zip(tmp_path / "bad.pt", line)
    with pytest.raises((Unsafe, Damaged), match=text):
        torch_files.header(tmp_path / "bad.pt")


def test_a_pickle_cannot_alter_what_stands_for_torch(tmp_path):
    """BUILD on a global would set its attributes."""
    before = dict(torch_files.KNOWN)
    line = b"ctorch._utils\n_rebuild_tensor_v2\n(N(dS'name'\nS'Size'\nstb."
    as_zip(tmp_path / "bad.pt", line)
    with pytest.raises(Damaged):
        torch_files.header(tmp_path / "bad.pt")
    assert before == torch_files.KNOWN
    assert torch_files.Rebuild("_rebuild_tensor_v2") in before.values()


def test_a_pickle_cannot_ask_for_memory(tmp_path):
    line = b"}r" + struct.pack("<I", 2**32 - 1) + b"."
    as_zip(tmp_path / "bad.pt", line)
    with pytest.raises(Damaged, match="remembers 4294967295"):
        torch_files.header(tmp_path / "bad.pt")


def test_a_view_by_hand(tmp_path):
    as_zip(tmp_path / "w.pt", tensor((2, 2), (1, 3), 1), _0=SIX.tobytes())
    found = read(tmp_path / "w.pt")["w"]
    np.testing.assert_array_equal(found, [[1, 4], [2, 5]])


@pytest.mark.parametrize(
    "shape, strides, offset",
    [
        ((2, 4), (4, 1), 0),
        ((2, 3), (3, 1), 1),
        ((2, 2), (-1, 1), 2),
        ((2,), (1,), -1),
        ((7,), (0,), 0),
        ((2, 3), (3,), 0),
        ((10**12,), (1,), 0),
        ((2.0,), (1,), 0),
    ],
)
def test_views_stay_within_their_storage(shape, strides, offset, tmp_path):
    raw = tensor(shape, strides, offset)
    as_zip(tmp_path / "w.pt", raw, _0=SIX.tobytes())
    with pytest.raises(Damaged, match=r"w\.pt is damaged: a tensor of shape"):
        torch_files.header(tmp_path / "w.pt")


@pytest.mark.parametrize("key", ["../0", "/etc/passwd", "1", "../data.pkl"])
def test_no_key_leaves_the_archive(key, tmp_path):
    raw = tensor((6,), (1,), key=key)
    as_zip(tmp_path / "w.pt", raw, _0=SIX.tobytes())
    with pytest.raises(Damaged, match="damaged"):
        read(tmp_path / "w.pt")


def test_sizes_are_checked_against_the_file(tmp_path, golden):
    as_zip(tmp_path / "w.pt", tensor((6,), (1,)), _0=SIX.tobytes()[:-1])
    with pytest.raises(Damaged, match="has 23 bytes, expected 24"):
        read(tmp_path / "w.pt")
    data = struct.pack("<q", 6) + SIX.tobytes()
    as_stream(tmp_path / "s.pt", tensor((6,), (1,)), ["0"], data)
    np.testing.assert_array_equal(read(tmp_path / "s.pt")["w"], SIX)
    for broken in (data[:-1], struct.pack("<q", 5) + SIX.tobytes(), data[:5], b""):
        as_stream(tmp_path / "s.pt", tensor((6,), (1,)), ["0"], broken)
        with pytest.raises(Damaged):
            read(tmp_path / "s.pt")
    as_stream(tmp_path / "s.pt", tensor((6,), (1,)), [])
    with pytest.raises(Damaged):
        read(tmp_path / "s.pt")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.97, 0.999])
def test_cut_files_raise(form, share, golden, tmp_path):
    whole = (golden / f"torch/{form}.pth").read_bytes()
    file = tmp_path / "cut.pth"
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(Damaged, match=r"cut\.pth is damaged"):
        read(file)


def test_flipped_bytes_never_do_worse(golden, tmp_path):
    """Every tenth byte of the pickle's part, one at a time."""
    whole = bytearray((golden / "torch/stream.pth").read_bytes())
    file = tmp_path / "flipped.pth"
    for at in range(0, 1500, 10):
        raw = whole.copy()
        raw[at] ^= 0xFF
        file.write_bytes(raw)
        with suppress(Damaged, Unsafe):
            read(file)


def test_compressed_records_are_refused(tmp_path):
    """torch compresses nothing; a bomb would."""
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**6)
    with pytest.raises(Damaged, match="compressed"):
        torch_files.header(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "value, text",
    [
        ([1], "holds a list"),
        ({}, "holds a dict"),
        ({"epoch": 3}, "'epoch' is a int, not a tensor"),
        ({"state_dict": {"a": 1}, "epoch": 3}, "'a' is a int"),
    ],
)
def test_what_is_no_weights_is_named(value, text, tmp_path):
    as_zip(tmp_path / "w.pt", pickle.dumps(value, 2))
    with pytest.raises(Damaged, match=text):
        torch_files.header(tmp_path / "w.pt")


@pytest.mark.parametrize("raw", [b"hello", b"PK\x03\x04", b"version https://git-lfs"])
def test_other_files_are_damaged(raw, tmp_path):
    (tmp_path / "w.pt").write_bytes(raw)
    with pytest.raises(Damaged, match=r"w\.pt is damaged"):
        torch_files.header(tmp_path / "w.pt")


@pytest.mark.parity
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_live(zipped, protocol, tmp_path):
    import record_torch
    import torch

    found = record_torch.tensors()
    file = tmp_path / "w.pth"
    options = dict(_use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    torch.save(found, file, **options)
    check(read(file), {k: record_torch.plain(v) for k, v in found.items()})
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    step = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 2)).sum().backward()
    step.step()
    state = {"state_dict": model.state_dict(), "opt": step.state_dict(), "epoch": 3}
    torch.save(state, file, **options)
    expected = {k: v.numpy() for k, v in model.state_dict().items()}
    check(read(file), expected)
    torch.save(model, file, **options)
    with pytest.raises(Unsafe, match=r"torch\.nn|no storage"):
        torch_files.header(file)
