"""The studies of pairs of domains: each config, in small, and where its files lie."""

import json

import pytest
from tiny_study import result

from configs import amazon_reviews, sentiment_shift
from experiments import launch
from experiments.settings import check
from experiments.shift.pairs import folder_of, of_pair


@pytest.fixture
def folder(tmp_path):
    """Sixty reviews of books and of dvds to train, thirty to judge."""
    for number, name in enumerate(("books", "dvd")):
        for part, rows in (("train", 60), ("test", 30)):
            lines = [
                f"{(-1) ** (row + 1)} {row % 2}:3 {10 + row % 7 + 7 * number}:1"
                for row in range(rows)
            ]
            file = tmp_path / f"{name}_{part}.svmlight"
            file.write_text("\n".join(lines) + "\n")
    return tmp_path


def test_amazon_reviews_follow_the_paper_s_protocol(folder, tmp_path):
    config = amazon_reviews.get_config(str(folder))
    assert len(config.shift.pairs) == 12
    config.run, config.seeds, config.epochs = "source_only,mmd,ceiling", (0,), 8.0
    config.batch_size, config.strategies.source_only.rate = 16, 1e-2
    pair = (f"amazon:{folder}/books", f"amazon:{folder}/dvd")
    config.shift.pairs = (pair,)
    launch.study(config, tmp_path / "runs", ["test"], lambda: False)
    own = tmp_path / "runs" / "amazon_books-to-amazon_dvd"
    info = json.loads((own / "study.json").read_text())
    assert info["data"]["name"] == "amazon books to amazon dvd"
    assert info["opened_target_labels"] == ["ceiling"]
    for name in ("source_only", "mmd", "ceiling"):
        assert result(own, name)["test"]["accuracy"] > 0.9


def test_folders_of_pairs_are_short_and_distinct():
    assert folder_of("vader/film", "vader/nyt") == "vader_film-to-vader_nyt"
    assert folder_of("amazon:/a/b/dvd", "x/y.csv") == "amazon_dvd-to-y"


@pytest.mark.parametrize("arg", ["", "lora"])
def test_sentiment_studies_are_sound(arg):
    """All that can be checked of a config without its data."""
    config = sentiment_shift.get_config(arg)
    pairs = config.shift.pairs
    assert len({*pairs}) == len(pairs) == (2 if arg else 12)
    for pair in pairs:
        check(of_pair(config, *pair))
    assert config.reference in config.run.split(",")
