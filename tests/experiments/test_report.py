"""The report of made-up studies: numbers, escapes, bytes that repeat, errors."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_study import STRATEGIES, make_study
from rich.console import Console

from experiments import table
from experiments.curves import _moving_mean
from experiments.figures import pareto
from experiments.report import build, main, print_table
from experiments.study import StudyError, load
from experiments.summary import higher_is_better, summarise

FILES = ("table.md", "table.csv", "report.html")
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps text and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.links = [], "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = make_study(tmp_path_factory.mktemp("runs") / "bbc", rows=120, steps=60)
    build(root)
    return root


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def table_of(root):
    with (root / "table.csv").open() as file:
        return {row["strategy"]: row for row in csv.DictReader(file)}


def test_table_against_a_loop(finished):
    found = table_of(finished)
    assert list(found) == list(STRATEGIES)
    scores = {}
    for name in STRATEGIES:
        results = [finished / name / str(s) / "result.json" for s in range(3)]
        results = [json.loads(path.read_text()) for path in results]
        scores[name] = [r["test"]["accuracy"] for r in results]
        mean = sum(scores[name]) / 3
        sd = (sum((s - mean) ** 2 for s in scores[name]) / 2) ** 0.5
        assert float(found[name]["accuracy_mean"]) == pytest.approx(mean)
        assert float(found[name]["accuracy_sd"]) == pytest.approx(sd)
        seconds = sum(r["seconds"] for r in results) / 3
        assert float(found[name]["seconds"]) == pytest.approx(seconds)
    quotient = sum(scores["lora"]) / sum(scores["from_scratch"])
    assert float(found["lora"]["transfer_ratio"]) == pytest.approx(quotient)
    assert found["lora"]["verdict"] == "positive"
    assert found["from_scratch"]["verdict"] == ""


def test_page_is_whole_and_needs_nothing_else(finished):
    text = (finished / "report.html").read_text()
    page = Page(text)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert len(page.links) == 4
    assert not re.search(r"https?:|<script|@import|url\(", text)
    for words in ("configs/bbc.py", "MIT", "blocks/0/attention/query", "jax 0.10.2"):
        assert words in page.text
    assert "LoRA, rank 8 has the highest test accuracy" in page.text
    assert "Partial" not in page.text


def test_the_same_study_gives_the_same_bytes(finished, tmp_path):
    images = sorted(path.name for path in finished.glob("*.png"))
    before = {name: (finished / name).read_bytes() for name in (*FILES, *images)}
    build(finished)
    assert len(images) == 4
    assert not list(finished.glob("*.tmp"))
    for name, content in before.items():
        assert (finished / name).read_bytes() == content, name


def test_foreign_text_can_not_break_anything(tmp_path):
    evil = ["<b>", "</table>", "$x_$", "a|b\nc", "<script>alert(1)</script>"]
    root = make_study(tmp_path, rows=40, steps=20, classes=evil, name="<i>&\"'")
    info = json.loads((root / "study.json").read_text())
    info["strategies"]["lora"] = {"title": "[red]<u>|x*", "note": "</td>"}
    info["command"] = ["run", "--name", "a b; <rm>"]
    edit(root / "study.json", **info)
    (root / "lora" / "0" / "plan.txt").write_text("</pre><b>")
    build(root)
    text = (root / "report.html").read_text()
    page = Page(text)
    for word in (*evil[:3], "[red]<u>|x*", "</pre><b>", "'a b; <rm>'"):
        assert word in page.text
    assert "<script" not in text
    assert "<b>" not in text
    rows = (root / "table.md").read_text().splitlines()[:7]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    console = Console(width=200, record=True, file=io.StringIO())
    print_table(root, console)
    assert "[red]<u>|x*" in console.export_text()


def test_a_study_half_done_is_reported_as_such(tmp_path):
    skip = [("full", 0), ("full", 1), ("full", 2), ("lora", 2)]
    root = make_study(tmp_path, skip=skip, rows=60, steps=40)
    (root / "lora" / "1" / "result.json").unlink()
    (root / "bitfit" / "0" / "predictions.npz").unlink()
    study = load(root)
    assert study.missing == [
        "bitfit/0: finished, but without predictions.npz",
        "lora/1: not finished (recorded up to step 40; no result.json)",
        "lora/2: not started",
        "full/0: not started",
        "full/1: not started",
        "full/2: not started",
    ]
    page = Page(build(root).read_text())
    assert "10 of 15 runs have ended" in page.text
    assert "lora/2: not started" in page.text
    assert "BitFit is not tested: bitfit/0 has no predictions" in page.text
    markdown = (root / "table.md").read_text()
    assert "LoRA, rank 8 (1 of 3 seeds)" in markdown
    assert summarise(study).best.name == "bitfit"  # of those with all seeds
    found = table_of(root)
    assert found["lora"]["accuracy_sd"] == found["full"]["accuracy_mean"] == ""
    console = Console(width=160, record=True, file=io.StringIO())
    print_table(root, console)
    assert "partial" in console.export_text()


def test_a_study_that_has_only_begun(tmp_path):
    root = make_study(tmp_path, skip=[(n, s) for n in STRATEGIES for s in range(3)])
    assert "No run has ended yet" in Page(build(root).read_text()).text
    assert not list(root.glob("*.png"))


def test_an_error_metric_is_better_when_lower(tmp_path):
    names = {n: {"title": n} for n in ("base", "good", "bad")}
    root = make_study(
        tmp_path, strategies=names, reference="base", metric="rmse", task="regression"
    )
    for name, noise in (("base", 0.5), ("good", 0.2), ("bad", 0.9)):
        for seed in range(3):
            folder = root / name / str(seed)
            rng = np.random.default_rng(seed)
            labels = rng.normal(size=100)
            found = labels + noise * rng.normal(size=100)
            index = np.arange(100)
            arrays = {"index": index, "labels": labels, "predictions": found}
            np.savez(folder / "predictions.npz", **arrays)
            rmse = float(np.sqrt(np.mean((found - labels) ** 2)))
            edit(folder / "result.json", test={"rmse": rmse}, confusion=None)
    text = Page(build(root).read_text()).text
    assert "good has the lowest test RMSE" in text
    found = table_of(root)
    assert float(found["good"]["transfer_ratio"]) == pytest.approx(2.5)
    assert found["good"]["verdict"] == "positive"
    assert found["bad"]["verdict"] == "negative"
    assert not (root / "confusion.png").exists()


def test_no_reference_no_comparison(tmp_path):
    root = make_study(tmp_path, reference=None, seeds=[0], rows=40, steps=20)
    build(root)
    assert "against" not in (root / "table.md").read_text()
    assert "single seed" in (root / "table.md").read_text()


def test_names_that_mean_errors():
    assert not any(map(higher_is_better, ["loss", "test/rmse", "word_error"]))
    assert all(map(higher_is_better, ["accuracy", "macro_f1", "lossless", "r2"]))


def test_not_finite_scores_are_never_the_best(tmp_path):
    root = make_study(tmp_path, rows=40, steps=20)
    for seed in range(3):
        path = root / "full" / str(seed) / "result.json"
        edit(path, test={"accuracy": float("nan"), "macro_f1": 0.1})
    assert summarise(load(root)).best.name != "full"
    build(root)


def test_a_narrow_terminal_keeps_what_matters(finished):
    console = Console(width=80, record=True, file=io.StringIO())
    print_table(finished, console)
    text = console.export_text()
    for words in ("Linear probe", "accuracy", "reference", "wider terminal"):
        assert words in text
    assert "macro" not in text


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"metric": "acuracy"}, "test has no 'acuracy'.*accuracy, macro_f1"),
        ({"reference": "fom_scratch"}, "'fom_scratch' is no strategy.*from_scratch"),
        ({"strategies": {"../x": {}}}, "can't be a directory's name"),
        ({"strategies": {"lora": "LoRA"}}, "should be an object"),
        ({"seeds": []}, "'seeds' should be a list that is not empty"),
        ({"seeds": ["../.."]}, "seeds should be integers"),
    ],
)
def test_a_wrong_study_json_says_where(finished, tmp_path, changes, message):
    (tmp_path / "lora").symlink_to(finished / "lora")
    (tmp_path / "from_scratch").symlink_to(finished / "from_scratch")
    (tmp_path / "study.json").write_text((finished / "study.json").read_text())
    edit(tmp_path / "study.json", **changes)
    with pytest.raises(StudyError, match=message):
        summarise(load(tmp_path))


def test_the_command_line(finished, tmp_path, capsys):
    assert main(["--workdir", str(finished)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert main(["--workdir", str(finished.parent / "bcb")]) == 1
    assert "does not exist" in (error := capsys.readouterr().err)
    assert "beside it: bbc" in error
    assert main(["--workdir", str(finished.parent)]) == 1
    assert "has no study.json" in (error := capsys.readouterr().err)
    assert f"perhaps you mean {finished}" in error
    (tmp_path / "study.json").write_text("{")
    assert main(["--workdir", str(tmp_path)]) == 1
    assert "study.json is no JSON" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--open" in capsys.readouterr().out


def test_a_moving_mean_leaves_straight_lines_alone():
    line = np.linspace(3, -1, 20)
    np.testing.assert_allclose(_moving_mean(line, 4), line)
    found = _moving_mean(np.asarray([0.0, 3.0, 0.0, 3.0]), 1)
    np.testing.assert_allclose(found, [0, 1, 2, 3])


def test_the_edge_of_scores_and_parameters(finished):
    summary = summarise(load(finished))
    edge = [row.name for row in pareto(list(summary.rows), "accuracy", True)]
    for row in summary.rows:
        beaten = [
            other
            for other in summary.rows
            if other.trainable <= row.trainable
            and other.scores["accuracy"].mean > row.scores["accuracy"].mean
        ]
        assert (row.name in edge) != bool(beaten)
    assert edge[0] == "linear_probe"


def test_seconds_a_step_and_what_was_saved(finished):
    text = table.markdown(summarise(load(finished)))
    head, _, *body = text.splitlines()[:7]
    titles = [cell.strip() for cell in head.split("|")]
    at, saved = titles.index("ms a step"), titles.index("saved, MB")
    cells = {row.split("|")[1].strip(" *"): row.split("|") for row in body}
    assert cells["BitFit"][at].strip() == f"{1000 * 151 / 400:,.0f}"
    assert cells["Linear probe"][at].strip() == table.NOTHING
    assert cells["Linear probe"][saved].strip() == "0.01"
