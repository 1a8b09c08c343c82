"""Folders of pictures: classes, splits, and what is not taken, counted."""

import numpy as np
import pytest
from PIL import Image

from tl_jax.data.image_folder import from_image_folder


@pytest.fixture
def put(tmp_path):
    """(name, level) writes a grey picture, (name, text=...) a text."""

    def write(name, level=0, text=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            Image.new("L", (4, 4), level).save(path)
        else:
            path.write_text(text)

    return write


def test_classes_are_the_folders(put, tmp_path):
    put("b/1.png", 10)
    put("a/deep/er/2.JPG", 20)
    put("a/1.bmp", 30)
    found = from_image_folder(tmp_path, licence="MIT")
    assert found.classes == ("a", "b")
    column = found.inputs["image"]
    assert [file.name for file in column.files] == ["1.bmp", "2.JPG", "1.png"]
    np.testing.assert_array_equal(found.labels, [0, 0, 1])
    assert (found.splits, found.notes) == ({}, ())
    assert (found.name, found.licence) == (tmp_path.name, "MIT")


def test_what_is_hidden_is_not_seen(put, tmp_path):
    put("a/1.png")
    put("a/.2.png")
    put("a/.thumbs/3.png")
    put(".git/4.png")
    put("a/.notes", text="hidden")
    found = from_image_folder(tmp_path)
    assert found.classes == ("a",)
    assert found.inputs["image"].rows == 1
    assert found.notes == ()


def test_other_files_and_loose_pictures_are_counted(put, tmp_path):
    put("a/1.png")
    put("a/labels.csv", text="x")
    put("a/sub/read.me", text="x")
    put("loose.png")
    found = from_image_folder(tmp_path)
    assert found.inputs["image"].rows == 1
    assert found.notes == (
        "2 files are no pictures and left out",
        "1 pictures are in no class's folder and left out",
    )


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "validation")])
def test_folders_of_splits(names, put, tmp_path):
    for i, split in enumerate(names):
        put(f"{split}/a/1.png", i)
        put(f"{split}/b/1.png", 100 + i)
        put(f"{split}/b/2.png", 200 + i)
    found = from_image_folder(tmp_path)
    assert found.classes == ("a", "b")
    wanted = {{"Train": "train", "val": "validation"}.get(n, n) for n in names}
    assert set(found.splits) == wanted
    for rows in found.splits.values():
        np.testing.assert_array_equal(found.labels[rows], [0, 1, 1])
    levels = [np.asarray(found.inputs["image"].at(r))[0, 0, 0] for r in range(3)]
    assert len(set(levels)) == 3
    together = np.sort(np.concatenate(list(found.splits.values())))
    np.testing.assert_array_equal(together, np.arange(3 * len(names)))


def test_a_class_that_a_split_lacks_is_noted(put, tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png"):
        put(name)
    found = from_image_folder(tmp_path)
    assert found.classes == ("a", "b")
    assert found.notes == ("test has no picture of b",)


def test_a_class_may_have_the_name_of_a_split(put, tmp_path):
    for name in ("train/1.png", "bus/1.png"):
        put(name)
    assert from_image_folder(tmp_path).classes == ("bus", "train")


@pytest.mark.parametrize(
    "names, said",
    [
        (("train/a/1.png", "extra/a/1.png"), "train look like splits, but.*extra"),
        (("val/a/1.png", "validation/a/1.png"), "'validation' a second time"),
        (("train/1.png", "test/1.png"), "no folder of a class"),
        (("1.png",), "no folder of a class"),
    ],
)
def test_folders_that_can_not_be_right(names, said, put, tmp_path):
    for name in names:
        put(name)
    with pytest.raises(ValueError, match=said):
        from_image_folder(tmp_path)


def test_empty_classes_and_missing_folders(put, tmp_path):
    put("a/1.png")
    put("b/1.txt", text="x")
    with pytest.raises(ValueError, match=r"no file of class 'b' is \.png"):
        from_image_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        from_image_folder(tmp_path / "nowhere")


def test_damaged_pictures_are_named_or_skipped_and_counted(put, tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        put(name)
    put("a/0.png", text="no picture")
    with pytest.raises(ValueError, match=r"1 of 4 pictures are damaged: .*a/0\.png"):
        from_image_folder(tmp_path)
    found = from_image_folder(tmp_path, damaged="skip")
    np.testing.assert_array_equal(found.labels, [0, 0, 1])
    (note,) = found.notes
    assert "1 of 4 pictures are damaged and left out" in note
    assert "0.png" in note


def test_skipping_keeps_splits_in_step(put, tmp_path):
    put("train/a/1.png", text="no picture")
    for name in ("train/a/2.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"):
        put(name)
    found = from_image_folder(tmp_path, damaged="skip")
    names = [str(f.relative_to(tmp_path)) for f in found.inputs["image"].files]
    for split, rows in found.splits.items():
        assert len(rows) == 2
        assert all(names[row].startswith(split) for row in rows)


def test_nothing_whole(put, tmp_path):
    put("a/1.png", text="no picture")
    with pytest.raises(ValueError, match="every picture is damaged"):
        from_image_folder(tmp_path, damaged="skip")


def test_the_background_is_chosen(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "a" / "1.png")
    column = from_image_folder(tmp_path, background="#0a0b0c").inputs["image"]
    assert (np.asarray(column.at(0)) == (10, 11, 12)).all()
    with pytest.raises(ValueError, match="'blakc' is no colour"):
        from_image_folder(tmp_path, background="blakc")
