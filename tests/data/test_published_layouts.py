"""Tiny folders in exactly the layouts of the published few-shot sets."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from picture_files import classes_of, picture
from PIL import Image

from experiments import sources
from tl_jax import data


def character(folder, seed, count=2):
    """Black strokes on white, 105x105 with one bit, as Omniglot's files are."""
    folder.mkdir(parents=True)
    for number in range(count):
        ink = np.ones((105, 105), bool)
        ink[30 + seed : 50, 20 : 40 + 10 * number] = False
        Image.fromarray(ink).save(folder / f"{seed:04}_{number:02}.png")


@pytest.fixture
def omniglot(tmp_path):
    for seed, name in enumerate(("Greek/character01", "Greek/character02")):
        character(tmp_path / "images_background" / name, seed)
    character(tmp_path / "images_evaluation" / "Tengwar/character01", 2)
    return tmp_path


def test_omniglot_by_lakes_folders(omniglot):
    found = data.omniglot(omniglot)
    images = found.inputs["image"]
    assert images.shape == (6, 28, 28, 1)
    assert classes_of(found, "train") == {"Greek/character01", "Greek/character02"}
    assert classes_of(found, "test") == {"Tengwar/character01"}
    assert images[0, 0, 0, 0] == 0
    assert images[0, 10, 8, 0] == 255
    assert found.notes[0] == "train: 2 classes, 4 pictures"


def test_omniglots_turns_are_classes_of_one_split(omniglot):
    found = data.omniglot(omniglot, rotations=True, size=105)
    assert len(found.classes) == 12
    assert len(classes_of(found, "test")) == 4
    rows = {
        name: np.flatnonzero(found.labels == i) for i, name in enumerate(found.classes)
    }
    upright = found.inputs["image"][rows["Greek/character01"][0], :, :, 0]
    turned = found.inputs["image"][rows["Greek/character01/rot090"][0], :, :, 0]
    np.testing.assert_array_equal(turned, np.rot90(upright))
    with Image.open(
        omniglot / "images_background/Greek/character01/0000_00.png"
    ) as file:
        np.testing.assert_array_equal(upright, np.where(np.asarray(file), 0, 255))


def vinyals(root, **lists):
    folder = root / "splits" / "vinyals"
    folder.mkdir(parents=True)
    for part in ("train", "val", "test"):
        (folder / f"{part}.txt").write_text("\n".join(lists.get(part, ())) + "\n")


def test_omniglot_by_vinyals_lists(omniglot):
    vinyals(
        omniglot,
        train=["Greek/character01/rot000", "Greek/character01/rot090"],
        val=["Greek/character02/rot180"],
        test=["Tengwar/character01/rot270"],
    )
    found = data.omniglot(omniglot)
    train = {"Greek/character01", "Greek/character01/rot090"}
    assert classes_of(found, "train") == train
    assert classes_of(found, "validation") == {"Greek/character02/rot180"}
    assert classes_of(found, "test") == {"Tengwar/character01/rot270"}
    assert set(data.omniglot(omniglot, split="lake").splits) == {"train", "test"}


def test_vinyals_lists_are_refused_where_they_do_not_fit(omniglot):
    with pytest.raises(FileNotFoundError, match="no folder splits/vinyals"):
        data.omniglot(omniglot, split="vinyals")
    with pytest.raises(ValueError, match="known: lake, vinyals"):
        data.omniglot(omniglot, split="lakes")
    vinyals(omniglot, train=["Greek/character01"])
    with pytest.raises(ValueError, match="does not end with one of rot000"):
        data.omniglot(omniglot)
    (omniglot / "splits/vinyals/train.txt").write_text("Greek/character77/rot000")
    with pytest.raises(ValueError, match="no Greek/character77 in data, images_b"):
        data.omniglot(omniglot)


def test_a_class_in_two_splits_is_refused(omniglot):
    twice = ["Greek/character01/rot000"]
    vinyals(omniglot, train=twice, val=["Greek/character02/rot000"], test=twice)
    with pytest.raises(ValueError, match="in 'train' and in 'test'"):
        data.omniglot(omniglot)


@pytest.fixture
def mini(tmp_path):
    for seed, (part, name) in enumerate(
        (("train", "n01"), ("val", "n02"), ("test", "n03"))
    ):
        rows = ["filename,label"]
        for number in range(2):
            file = f"{name}{number:08}.jpg"
            picture(tmp_path / "images" / file, 10 * seed + number)
            rows.append(f"{file},{name}")
        (tmp_path / f"{part}.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_mini_imagenets_lists(mini):
    found = data.mini_imagenet(mini)
    assert found.classes == ("n01", "n02", "n03")
    assert {k: list(v) for k, v in found.splits.items()} == {
        "train": [0, 1],
        "validation": [2, 3],
        "test": [4, 5],
    }
    assert found.inputs["image"].files[2].name == "n0200000000.jpg"


def test_mini_imagenets_lists_are_checked(mini):
    (mini / "images" / "n0100000001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 6 pictures .*n0100000001\.jpg"):
        data.mini_imagenet(mini)
    (mini / "val.csv").write_text("file,label\na,b\n")
    with pytest.raises(ValueError, match="no column filename"):
        data.mini_imagenet(mini)
    (mini / "val.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no val\.csv"):
        data.mini_imagenet(mini)


def old_pickle(value):
    """Protocol 2 as Python 2 wrote it: every text is a byte string."""
    if isinstance(value, dict):
        items = b"".join(old_pickle(k) + old_pickle(v) for k, v in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(old_pickle, value)) + b"e"
    if isinstance(value, np.ndarray):
        shape = b"(" + b"".join(map(old_pickle, value.shape)) + b"t"
        make = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        make += b"(K\x00tU\x01btR"
        kind = value.dtype.str[1:].encode()
        dtype = b"cnumpy\ndtype\n(U" + bytes([len(kind)]) + kind + b"K\x00K\x01tR"
        dtype += b"(K\x03U\x01" + (b"|" if value.dtype == "u1" else b"<")
        dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        numbers = value.tobytes()
        text = b"T" + struct.pack("<i", len(numbers)) + numbers
        return make + b"(K\x01" + shape + dtype + b"\x89" + text + b"tb"
    if isinstance(value, str):
        return b"T" + struct.pack("<i", len(value)) + value.encode()
    return b"J" + struct.pack("<i", value)


def python2(value):
    return b"\x80\x02" + old_pickle(value) + b"."


def test_the_old_pickles_of_these_tests_are_pickles():
    value = {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": ["x", 7]}
    found = pickle.loads(python2(value), encoding="latin-1")
    np.testing.assert_array_equal(found["a"], value["a"])
    assert found["b"] == ["x", 7]


WRITERS = {"python 2": python2} | {
    f"protocol {n}": lambda value, n=n: pickle.dumps(value, protocol=n)
    for n in (2, 3, 4)
}


@pytest.mark.parametrize("writer", WRITERS)
def test_mini_imagenets_pickles(writer, tmp_path):
    pixels = np.random.default_rng(0).integers(
        0, 256, (3, 4, 84, 84, 3), dtype=np.uint8
    )
    for i, part in enumerate(("train", "val", "test")):
        rows = {f"n{i}0": [3, 1], f"n{i}1": [0, 2]}
        value = {"image_data": pixels[i], "class_dict": rows}
        raw = WRITERS[writer](value)
        (tmp_path / f"mini-imagenet-cache-{part}.pkl").write_bytes(raw)
    found = data.mini_imagenet(tmp_path)
    assert classes_of(found, "validation") == {"n10", "n11"}
    rows = np.flatnonzero(found.labels == found.classes.index("n10"))
    np.testing.assert_array_equal(found.inputs["image"][rows], pixels[1][[3, 1]])


@pytest.mark.parametrize("writer", ["python 2", "protocol 4"])
def test_tiered_imagenets_pickles(writer, tmp_path):
    images = []
    for part in ("train", "val", "test"):
        picture(tmp_path / "one.png", len(images))
        raw = (tmp_path / "one.png").read_bytes()
        images.append(np.asarray(Image.open(tmp_path / "one.png")))
        encoded = [np.frombuffer(raw, np.uint8).reshape(-1, 1)] * 3
        names = {"label_specific": np.asarray([0, 1, 1])}
        names["label_specific_str"] = [f"{part} dog", f"{part} cat"]
        for name, value in (("images_png", encoded), ("labels", names)):
            raw = WRITERS[writer](value)
            (tmp_path / f"{part}_{name}.pkl").write_bytes(raw)
    found = data.tiered_imagenet(tmp_path)
    assert classes_of(found, "test") == {"test dog", "test cat"}
    column = found.inputs["image"]
    assert column.rows == 9
    np.testing.assert_array_equal(np.asarray(column.at(8)), images[2])


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    file = tmp_path / "mini-imagenet-cache-train.pkl"
    file.write_bytes(pickle.dumps({"image_data": Evil()}))
    with pytest.raises(ValueError, match=r"could run code.*folders \{train,val,test\}"):
        data.mini_imagenet(tmp_path)
    assert not (tmp_path / "ran").exists()
    file.write_bytes(b"no pickle")
    with pytest.raises(ValueError, match="damaged or no pickle"):
        data.mini_imagenet(tmp_path)
    file.write_bytes(pickle.dumps({"images": 1}))
    with pytest.raises(ValueError, match="no 'image_data', only images"):
        data.mini_imagenet(tmp_path)


def test_tiered_imagenet_in_folders(tmp_path):
    for seed, part in enumerate(("train", "val", "test")):
        picture(tmp_path / part / f"n{seed}" / "a.jpg", seed)
    found = data.tiered_imagenet(tmp_path)
    assert classes_of(found, "validation") == {"n1"}
    picture(tmp_path / "test" / "n0" / "a.jpg", 9)
    with pytest.raises(ValueError, match="in 'test' and in 'train'"):
        data.tiered_imagenet(tmp_path)


@pytest.mark.parametrize("inside", ["", "cifar100"])
def test_cifar_fs(inside, tmp_path):
    home = tmp_path / inside
    lists = home / "splits" / "bertinetto"
    lists.mkdir(parents=True)
    for seed, (part, name) in enumerate(
        (("train", "bear"), ("val", "bus"), ("test", "cup"))
    ):
        (lists / f"{part}.txt").write_text(f"{name}\n")
        picture(home / "data" / name / "x_s_01.png", seed, (32, 32))
    found = data.cifar_fs(tmp_path)
    assert classes_of(found, "train") == {"bear"}
    assert classes_of(found, "test") == {"cup"}
    (lists / "test.txt").write_text("cup\nplane\n")
    with pytest.raises(ValueError, match="no picture of 'plane'"):
        data.cifar_fs(tmp_path)


def test_a_source_is_found_by_its_folder_or_by_name(mini, tmp_path):
    for source in (str(mini), f"mini-imagenet:{mini}"):
        found = sources.from_source(source, "data set")
        assert found.name == "mini-imagenet"
        assert set(found.splits) == {"train", "validation", "test"}
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        sources.from_source(f"omniglot:{tmp_path}/none", "data set")
    with pytest.raises(ValueError, match="nearest: .*omniglot:here"):
        sources.from_source("omniglott:here", "data set")
