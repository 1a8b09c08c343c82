"""Pictures: what each kind of file becomes, and what is said of damaged ones."""

import io

import numpy as np
import pytest
from PIL import Image

from tl_jax.data.pictures import Pictures, colour, held, pictures, read_picture

RED, CLEAR = (200, 10, 20, 255), (0, 0, 0, 0)
LEVELS = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def noise(seed=0, size=(9, 7)):
    """A random picture [H W 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def saved(path, picture, **options):
    Image.fromarray(picture).save(path, **options)
    return path


def read(path, background=(255, 255, 255)):
    found = read_picture(path, background)
    assert found.mode == "RGB"
    return np.asarray(found)


def test_plain_pictures_are_read_as_they_are(tmp_path):
    path = saved(tmp_path / "a.png", noise())
    np.testing.assert_array_equal(read(path), noise())


@pytest.mark.parametrize("ground", [(255, 255, 255), (1, 2, 3)])
def test_what_is_transparent_shows_the_background(ground, tmp_path):
    pixels = np.array([[RED, CLEAR, (100, 100, 100, 51)]], np.uint8)
    found = read(saved(tmp_path / "a.png", pixels), ground)
    np.testing.assert_array_equal(found[0, 0], RED[:3])
    np.testing.assert_array_equal(found[0, 1], ground)
    mixed = np.array(ground) + 0.2 * (100 - np.array(ground))  # 51 of 255
    np.testing.assert_allclose(found[0, 2], mixed, atol=1)


def test_a_palette_with_transparency(tmp_path):
    made = Image.new("P", (3, 1))
    made.putpalette([0, 0, 0, 200, 10, 20, 5, 6, 7])
    made.putdata([0, 1, 2])
    for ending in ("png", "gif"):
        made.save(tmp_path / f"a.{ending}", transparency=0)
        found = read(tmp_path / f"a.{ending}", (9, 8, 7))
        np.testing.assert_array_equal(found[0], [(9, 8, 7), (200, 10, 20), (5, 6, 7)])


def test_grey_with_and_without_transparency(tmp_path):
    found = read(saved(tmp_path / "a.png", LEVELS))
    np.testing.assert_array_equal(found, np.repeat(LEVELS[..., None], 3, -1))
    pair = np.stack([LEVELS, np.where(LEVELS > 100, 255, 0).astype(np.uint8)], -1)
    found = read(saved(tmp_path / "b.png", pair), (1, 2, 3))
    np.testing.assert_array_equal(found[0, 0], (1, 2, 3))
    np.testing.assert_array_equal(found[2, 3], (220, 220, 220))


def test_black_and_white(tmp_path):
    found = read(saved(tmp_path / "a.png", LEVELS > 100))
    np.testing.assert_array_equal(found[..., 0], np.where(LEVELS > 100, 255, 0))


def test_grey_of_16_bits_keeps_the_upper_8(tmp_path):
    high = LEVELS.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(read(saved(tmp_path / "a.png", high))[..., 1], LEVELS)
    Image.fromarray(high).save(tmp_path / "b.png", transparency=int(high[2, 1]))
    found = read(tmp_path / "b.png", (1, 2, 3))
    np.testing.assert_array_equal(found[2, 1], (1, 2, 3))
    np.testing.assert_array_equal(found[2, 2], (200, 200, 200))


def test_cmyk(tmp_path):
    wanted = np.full((8, 8, 3), (0, 255, 0), np.uint8)
    made = Image.fromarray(wanted).convert("CMYK")
    made.save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read(tmp_path / "a.jpg"), wanted, atol=4)


@pytest.mark.parametrize("number, turned", [(1, 0), (6, -1), (8, 1), (3, 2)])
def test_pictures_stand_upright(number, turned, tmp_path):
    """EXIF's number says how the camera was held."""
    exif = Image.Exif()
    exif[274] = number
    for ending in ("png", "webp"):
        path = tmp_path / f"a.{ending}"
        saved(path, noise(), exif=exif, **({"lossless": True} if "w" in ending else {}))
        np.testing.assert_array_equal(read(path), np.rot90(noise(), turned))


def test_of_a_moving_picture_the_first_frame(tmp_path):
    first, second = (Image.new("L", (4, 4), level) for level in (40, 200))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert (read(tmp_path / "a.gif") == 40).all()


def damaged_files(folder):
    """A text, a cut PNG, a cut JPEG, an empty file; and one that is whole."""
    saved(folder / "whole.png", noise())
    (folder / "text.png").write_text("this is no picture")
    for ending in ("png", "jpg"):
        data = saved(folder / f"cut.{ending}", noise(1, (40, 40))).read_bytes()
        (folder / f"cut.{ending}").write_bytes(data[: len(data) // 2])
    (folder / "empty.gif").write_bytes(b"")
    return sorted(folder.iterdir())


def test_damaged_files_are_counted_and_named(tmp_path):
    files = damaged_files(tmp_path)
    with pytest.raises(ValueError) as raised:
        pictures(files)
    said = str(raised.value)
    assert said.startswith("4 of 5 pictures are damaged: ")
    for name in ("text.png", "cut.png", "cut.jpg", "empty.gif"):
        assert said.count(str(tmp_path / name)) == 1
    assert "whole.png" not in said


def test_damaged_files_are_skipped_when_asked(tmp_path):
    column, broken = pictures(damaged_files(tmp_path), damaged="skip")
    assert column.files == (tmp_path / "whole.png",)
    assert column.rows == 1
    np.testing.assert_array_equal(np.asarray(column.at(0)), noise())
    assert [file.name for file, _ in broken] == [
        "cut.jpg",
        "cut.png",
        "empty.gif",
        "text.png",
    ]
    with pytest.raises(ValueError, match="'skpi'; known: raise, skip"):
        pictures([], damaged="skpi")


def test_of_many_damaged_files_the_first_are_named(tmp_path):
    for i in range(7):
        (tmp_path / f"{i}.png").write_text("no")
    with pytest.raises(ValueError, match=r"7 of 7.*4\.png.*; and 2 more") as raised:
        pictures(sorted(tmp_path.iterdir()))
    assert "5.png" not in str(raised.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_any_damage_is_told_as_one_error(kind, tmp_path):
    rng, made = np.random.default_rng(0), io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise()).save(made, kind, exif=exif)
    data, path, told = made.getvalue(), tmp_path / "a.png", 0
    for _ in range(60):
        changed = bytearray(data)
        for at in rng.integers(0, min(len(data), 300), 4):
            changed[at] = rng.integers(0, 256)
        path.write_bytes(changed[: rng.integers(1, len(data))])
        try:
            read(path)
        except ValueError as error:
            told += str(error).startswith(str(path))
    assert told > 30


def test_a_file_that_is_damaged_later_is_named(tmp_path):
    path = saved(tmp_path / "a.png", noise())
    column, _ = pictures([path])
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"a\.png"):
        column.at(0)


def test_equal_pictures_have_equal_digests(tmp_path):
    paths = [saved(tmp_path / f"{i}.png", noise(i % 2)) for i in range(4)]
    column, _ = pictures(paths)
    a, b, again_a, again_b = column.digests
    assert a == again_a
    assert b == again_b
    assert a != b
    assert column.digests.dtype == np.uint64


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("black", (0, 0, 0)),
        ("#f00080", (240, 0, 128)),
        ((1, 2, 3), (1, 2, 3)),
        (np.array([1, 2, 3]).tolist(), (1, 2, 3)),
    ],
)
def test_colours(name, wanted):
    assert colour(name) == wanted


@pytest.mark.parametrize("name", ["wihte", (1, 2), (1, 2, 256), (0.5, 1, 1), None, 7])
def test_what_is_no_colour(name):
    with pytest.raises(ValueError, match="background"):
        colour(name)


def encoded(picture):
    made = io.BytesIO()
    Image.fromarray(picture).save(made, "PNG")
    return made.getvalue()


def test_pictures_in_memory_of_one_shape_are_an_array():
    made = [noise(0), noise(1)]
    for values in (made, [encoded(picture) for picture in made]):
        found = held(values)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, np.stack(made))
    assert held([LEVELS, LEVELS]).shape == (2, 3, 4, 1)
    clear = np.full((3, 4, 4), CLEAR, np.uint8)
    for value in (clear, encoded(clear)):
        found = held([value, value], "#010203")
        np.testing.assert_array_equal(found, np.full((2, 3, 4, 3), (1, 2, 3)))


def test_pictures_in_memory_of_unequal_shapes():
    clear = np.full((5, 6, 4), CLEAR, np.uint8)
    values = [noise(), encoded(clear), LEVELS, LEVELS[..., None], clear, noise()]
    column = held(values, "#010203")
    assert column.rows == 6
    found = [np.asarray(column.at(row)) for row in range(6)]
    sizes = [(9, 7), (5, 6), (3, 4), (3, 4), (5, 6), (9, 7)]
    assert [x.shape[:2] for x in found] == sizes
    assert all(x.shape[2] == 3 for x in found)
    for row in (1, 4):
        assert (found[row] == (1, 2, 3)).all()
    np.testing.assert_array_equal(found[2], found[3])
    digests = column.digests
    assert digests[0] == digests[5]
    assert len(set(digests.tolist())) == 5
    assert column.named(3) == "row 3"


@pytest.mark.parametrize(
    "value, said",
    [
        (b"no picture", "row 1: no picture"),
        (noise().astype(np.float32), r"row 1: float32 \[9, 7, 3\]"),
        (np.zeros((4, 4, 2), np.uint8), r"row 1: uint8 \[4, 4, 2\]"),
        (np.zeros((0, 4, 3), np.uint8), "row 1"),
    ],
)
def test_what_is_no_picture_in_memory(value, said):
    with pytest.raises(ValueError, match=said):
        held([noise(), value])


def test_pictures_as_they_are_kept(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    files = [
        saved(tmp_path / "a.jpg", noise(), exif=turned),
        saved(tmp_path / "b.png", LEVELS),
        saved(tmp_path / "c.png", np.full((5, 6, 4), CLEAR, np.uint8)),
    ]
    wanted = [(7, 9, "RGB"), (3, 4, "L"), (5, 6, "RGBA")]
    column, _ = pictures(files)
    assert [column.kept(row) for row in range(3)] == wanted
    values = [files[0].read_bytes(), LEVELS, np.full((5, 6, 4), CLEAR, np.uint8)]
    inside = held(values)
    assert [inside.kept(row) for row in range(3)] == wanted
    for found in (column, inside):
        some = found.take([2, 0])
        assert [some.kept(row) for row in range(some.rows)] == [wanted[2], wanted[0]]
        assert some.digests.tolist() == found.digests[[2, 0]].tolist()
        assert some.background == found.background


def test_no_pictures_at_all():
    column, broken = pictures([])
    assert isinstance(column, Pictures)
    assert (column.rows, broken) == (0, [])
