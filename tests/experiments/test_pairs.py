"""Studies of several pairs of domains: folders, the table over all, what goes on."""

import json

import pytest
from tiny_shift import shifted, write_domains

from experiments import launch, report
from experiments.shift.pairs import folder_of
from experiments.shift.pairs_summary import read_pairs
from experiments.study import StudyError

NAMED = {
    "plain": {"title": "Source only", "rate": 1e-2},
    "mcc": {"rate": 1e-2, "adapt": {"mcc": {}}},
    "ceiling": {"rate": 1e-2, "source": False, "target_labelled": -1},
}


@pytest.fixture(scope="module")
def config(tiny_model, tmp_path_factory):
    paths = write_domains(tmp_path_factory.mktemp("domains"))
    config = shifted(tiny_model, paths, **NAMED)
    config.name, config.reference, config.seeds = "both ways", "plain", (0, 1)
    near, far = map(str, paths)
    config.shift.pairs = ((near, far), (far, near))
    return config


@pytest.fixture(scope="module")
def workdir(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "runs"
    launch.study(config, folder, ["test"], lambda: False)
    return folder


def test_each_pair_is_a_study_of_its_own(workdir):
    for name in ("near-to-far", "far-to-near"):
        info = json.loads((workdir / name / "study.json").read_text())
        assert info["data"]["name"] == name.replace("-to-", " to ")
        assert (workdir / name / "report.html").is_file()


def test_strategies_are_summed_up_over_pairs(workdir):
    found = read_pairs(workdir)
    assert [line.name for line in found.lines] == list(NAMED)
    for line in found.lines:
        assert line.done == 2
        scores = [pair.row(line.name).scores["accuracy"].mean for pair in found.pairs]
        assert line.mean == pytest.approx(sum(scores) / 2)
        assert line.opened == (line.name == "ceiling")
    plain, mcc, _ = found.lines
    assert plain.gain is None
    gains = [pair.row("mcc").gain for pair in found.pairs]
    assert mcc.gain.value == pytest.approx(sum(gains) / 2)
    assert mcc.positive + mcc.none + mcc.negative == 2


def test_page_and_tables_name_all_pairs(workdir, capsys):
    page = (workdir / "report.html").read_text()
    assert 'href="near-to-far/report.html"' in page
    assert "sees target labels" in page
    lines = (workdir / "table.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * len(NAMED)
    assert (workdir / "gains.png").stat().st_size > 1000
    assert report.main(["--workdir", str(workdir)]) == 0
    assert "Source only" in capsys.readouterr().out


def test_a_second_start_goes_on_and_another_config_does_not(workdir, config):
    before = (workdir / "report.html").read_bytes()
    launch.study(config, workdir, ["test"], lambda: False)
    assert (workdir / "report.html").read_bytes() == before
    other = config.copy_and_resolve_references()
    other.shift.pairs = other.shift.pairs[:1]
    with pytest.raises(ValueError, match="pairs"):
        launch.study(other, workdir, ["test"], lambda: False)


def test_names_of_folders():
    assert folder_of("vader/film", "vader/tweets") == "vader_film-to-vader_tweets"
    assert folder_of("/data/near.csv", "mnist") == "near-to-mnist"


def test_a_workdir_where_nothing_began_raises(tmp_path):
    (tmp_path / "pairs.json").write_text('{"pairs": [["a", "b", "a-to-b"]]}')
    with pytest.raises(StudyError, match="no pair's study has begun"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.json").write_text("{}")
    with pytest.raises(StudyError, match="can't be read"):
        read_pairs(tmp_path)
