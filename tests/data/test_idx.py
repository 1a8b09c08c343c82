"""The idx format, from bytes that are made by hand."""

import gzip
import struct

import numpy as np
import pytest

from tl_jax.data.idx import from_idx, from_idx_folder, read_idx


def idx(code, shape, body):
    """Head and body of a file."""
    sizes = struct.pack(f">{len(shape)}I", *shape)
    return bytes([0, 0, code, len(shape)]) + sizes + body


CASES = {
    8: ("3B", (0, 200, 255), np.uint8),
    9: ("3b", (-128, 0, 127), np.int8),
    11: ("3h", (-300, 0, 30_000), np.int16),
    12: ("3i", (-70_000, 0, 2**30), np.int32),
    13: ("3f", (-1.5, 0.0, 2.25), np.float32),
    14: ("3d", (-1.5, 0.0, 1e-300), np.float64),
}


@pytest.mark.parametrize("code", CASES)
def test_every_type_of_number(code, tmp_path):
    form, values, dtype = CASES[code]
    path = tmp_path / "a"
    path.write_bytes(idx(code, (3,), struct.pack(f">{form}", *values)))
    found = read_idx(path)
    assert found.dtype == dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, np.asarray(values, dtype))


def test_dimensions_and_order(tmp_path):
    (tmp_path / "a").write_bytes(idx(8, (2, 3, 2), bytes(range(12))))
    found = read_idx(tmp_path / "a")
    np.testing.assert_array_equal(found, np.arange(12).reshape(2, 3, 2))
    found[0] = 1  # one's own, to be changed


def test_gzipped_or_not_is_the_same_by_content(tmp_path):
    data = idx(8, (4,), b"abcd")
    (tmp_path / "plain.gz").write_bytes(data)
    (tmp_path / "packed").write_bytes(gzip.compress(data))
    for name in ("plain.gz", "packed"):
        assert read_idx(tmp_path / name).tobytes() == b"abcd"


PACKED = gzip.compress(idx(8, (400,), bytes(range(200)) * 2))
BAD = {
    "wrong magic": (b"PK\3\4....", "begins with 504b0304, no idx file"),
    "unknown type": (idx(10, (1,), b"a"), "begins with 00000a01"),
    "empty": (b"", "begins with , no idx file"),
    "cut in its head": (idx(8, (2, 2), b"")[:9], "ends within its head of 2 dim"),
    "short": (idx(8, (2, 2), b"abc"), r"3 bytes for uint8 \[2, 2\], expected 4"),
    "long": (idx(8, (2, 2), b"abcde"), "5 bytes for uint8"),
    "short of numbers": (
        idx(12, (2,), b"abcd"),
        "4 bytes for int32 \\[2\\], expected 8",
    ),
    "huge": (idx(8, (2**31, 2**31, 2**31), b"a"), "expected 9903520314283042199"),
    "cut gzip": (PACKED[:-20], "damaged gzip"),
    "changed gzip": (PACKED[:12] + b"\xff" * 8 + PACKED[20:], "damaged gzip"),
}


@pytest.mark.parametrize("case", BAD)
def test_damage_is_told(case, tmp_path):
    data, said = BAD[case]
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ValueError, match=said) as raised:
        read_idx(tmp_path / "a")
    assert str(raised.value).startswith(str(tmp_path / "a"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


@pytest.fixture
def files(tmp_path):
    def write(images, labels):
        (tmp_path / "images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (tmp_path / "labels").write_bytes(labels)
        return tmp_path / "images-idx3-ubyte.gz", tmp_path / "labels"

    return write


def test_pictures_with_labels(files):
    images = idx(8, (3, 2, 2), bytes(range(12)))
    both = files(images, idx(8, (3,), b"\1\0\1"))
    found = from_idx(*both, ("no", "yes"), licence="MIT")
    pixels = found.inputs["image"]
    assert (pixels.shape, pixels.dtype) == ((3, 2, 2, 1), np.uint8)
    np.testing.assert_array_equal(found.labels, [1, 0, 1])
    assert found.classes == ("no", "yes")
    assert (found.name, found.licence) == ("images-idx3-ubyte", "MIT")
    colours = idx(8, (2, 1, 1, 3), bytes(6))
    found = from_idx(*files(colours, idx(8, (2,), b"\0\1")))
    assert found.inputs["image"].shape == (2, 1, 1, 3)


@pytest.mark.parametrize(
    "images, labels, said",
    [
        (idx(8, (2, 2), bytes(4)), idx(8, (2,), b"\0\1"), r"uint8 \[2, 2\], expected"),
        (idx(9, (1, 2, 2), bytes(4)), idx(8, (1,), b"\0"), r"int8 \[1, 2, 2\]"),
        (idx(8, (2, 1, 1), bytes(2)), idx(8, (1,), b"\0"), "1 labels for 2 examples"),
        (idx(8, (1, 1, 1), b"a"), idx(13, (1,), bytes(4)), r"float32 \[1\], expected"),
        (idx(8, (1, 1, 1), b"a"), idx(8, (1, 2), b"ab"), r"uint8 \[1, 2\], expected"),
    ],
)
def test_files_that_do_not_fit_together(images, labels, said, files):
    with pytest.raises(ValueError, match=said):
        from_idx(*files(images, labels))


def put(folder, name, count, packed=False, side=2, first=0):
    """A pair of files: pictures of one grey level each, which is also their label."""
    levels = np.arange(first, first + count, dtype=np.uint8)
    pixels = np.repeat(levels, side * side).tobytes()
    for half, shape, body in (
        ("images-idx3-ubyte", (count, side, side), pixels),
        ("labels-idx1-ubyte", (count,), levels.tobytes()),
    ):
        data = idx(8, shape, body)
        file = folder / f"{name}{half}{'.gz' if packed else ''}"
        file.write_bytes(gzip.compress(data) if packed else data)


def test_a_folder_has_its_splits(tmp_path):
    put(tmp_path, "t10k-", 2, first=3)
    put(tmp_path, "train-", 3, packed=True)
    put(tmp_path, "val-", 1, first=5)
    (tmp_path / "notes.txt").write_text("of no concern")
    found = from_idx_folder(tmp_path)
    assert {k: v.tolist() for k, v in found.splits.items()} == {
        "train": [0, 1, 2],
        "test": [3, 4],
        "validation": [5],
    }
    np.testing.assert_array_equal(found.labels, range(6))
    pixels = found.inputs["image"]
    assert pixels.shape == (6, 2, 2, 1)
    np.testing.assert_array_equal(pixels[:, 1, 1, 0], found.labels)
    assert found.classes == tuple("012345")
    assert found.name == tmp_path.name


def test_one_pair_is_no_split(tmp_path):
    put(tmp_path, "", 3)
    assert from_idx_folder(tmp_path, "abc").splits == {}
    other = tmp_path / "other"
    other.mkdir()
    put(other, "emnist-letters-train-", 2)
    found = from_idx_folder(other, licence="MIT")
    assert (found.splits, found.licence) == ({}, "MIT")
    put(other, "emnist-letters-test-", 2)
    assert list(from_idx_folder(other).splits) == ["train", "test"]


def test_a_file_beside_the_same_one_gzipped_is_read_once(tmp_path):
    put(tmp_path, "train-", 3)
    put(tmp_path, "train-", 2, packed=True)
    assert len(from_idx_folder(tmp_path).labels) == 3


@pytest.mark.parametrize("half", ["images-idx3-ubyte", "labels-idx1-ubyte"])
@pytest.mark.parametrize("name", ["train-", "t10k-", ""])
def test_half_a_pair_is_named(name, half, tmp_path):
    put(tmp_path, "train-", 2)
    put(tmp_path, "t10k-", 2)
    if not name:
        put(tmp_path, "", 2)
    (tmp_path / f"{name}{half}").unlink()
    said = f"beside it: expected {name}{half} or {name}{half}.gz"
    with pytest.raises(ValueError, match=said) as raised:
        from_idx_folder(tmp_path)
    other = {"i": "labels", "l": "images"}[half[0]]
    assert f"{tmp_path}: {name}{other}" in str(raised.value)


@pytest.mark.parametrize(
    "names", [("a-", "b-"), ("train-", "x-train-"), ("train-", "")]
)
def test_pairs_that_are_no_splits(names, tmp_path):
    for name in names:
        put(tmp_path, name, 2)
    with pytest.raises(ValueError, match="not one of each split.*train, t10k, test"):
        from_idx_folder(tmp_path)


def test_folders_that_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected train-images-idx3-ubyte"):
        from_idx_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        from_idx_folder(tmp_path / "nowhere")
    put(tmp_path, "train-", 2)
    put(tmp_path, "t10k-", 2, side=3)
    with pytest.raises(ValueError, match=r"sizes: \[2, 2, 1\] and \[3, 3, 1\]"):
        from_idx_folder(tmp_path)
