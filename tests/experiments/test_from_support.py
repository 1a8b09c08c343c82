"""`experiments.predict --support`: new classes, learned from what the user gives."""

import csv
import json
import shutil

import numpy as np
import pytest
from tiny_episodes import MAML, PROTOTYPICAL, learner, pictures, write_classes
from tiny_study import SPECIAL, run, small, strategies

from experiments.from_support import parts
from experiments.predict import main
from experiments.problem import make_problem

BASELINE = learner("baseline", ways=2, inner={"rate": 0.1, "steps": 2})
RATED = learner(
    "maml",
    inner={"rate": 0.1, "steps": 1, "learned": "elements"},
    tasks="map",
    norm="running",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Pictures by learners with and without a head, and with a player of their own."""
    folder = tmp_path_factory.mktemp("support")
    config = pictures(
        write_classes(folder / "data"),
        proto=PROTOTYPICAL,
        maml=MAML,
        rated=RATED,
        baseline=BASELINE,
    )
    run(config, folder / "runs")
    return folder, config


def written(problem, stream, folder, k):
    """Pictures of an episode's support set by label, and of its queries in order."""
    files = problem.examples.inputs["image"].files
    for side in ("support", "query"):
        rows, labels = (stream["inputs"][side][n][k] for n in ("index", "labels"))
        for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
            below = f"support/class {label}" if side == "support" else "query"
            (folder / below).mkdir(parents=True, exist_ok=True)
            shutil.copy(files[row], folder / below / f"{i:02}.png")


def answers(folder, *flags):
    """Rows that the command writes."""
    output = folder / "out.jsonl"
    assert main([*flags, f"--output={output}"]) == 0
    return [json.loads(line) for line in output.read_text().splitlines()]


@pytest.mark.parametrize("name", ["proto", "maml", "rated", "baseline"])
def test_a_test_episode_given_as_files_gets_the_answers_of_the_study(
    name, study, tmp_path
):
    """Also where what moves a task was learned beside the model."""
    folder, config = study
    problem = make_problem(config)
    stream = next(iter(problem.streams(problem.split(0)["test"], "test")))
    with np.load(folder / "runs" / name / "0" / "predictions.npz") as kept:
        logits = kept["logits"]
    for k in (0, 1):
        place = tmp_path / str(k)
        written(problem, stream, place, k)
        flags = f"--workdir={folder / 'runs'}", f"--strategy={name}"
        data = f"--support={place / 'support'}", f"--input={place / 'query'}"
        rows = answers(place, *flags, *data)
        assert [row["file"] for row in rows] == [f"{i:02}.png" for i in range(4)]
        found = np.array([list(row["probabilities"].values()) for row in rows])
        assert list(rows[0]["probabilities"]) == ["class 0", "class 1"]
        odds = np.exp(logits[k] - logits[k].max(-1, keepdims=True))
        odds /= odds.sum(-1, keepdims=True)
        np.testing.assert_allclose(found, odds, atol=1e-4)


def test_more_classes_than_any_episode_and_unequal_shots(study, tmp_path, capsys):
    """Pictures that were learned are told apart; the smallest class has one."""
    folder, _ = study
    for i, name in enumerate("abcd"):
        (tmp_path / "support" / name).mkdir(parents=True)
        for file in sorted((folder / "data/train" / name).iterdir())[: 1 + i]:
            shutil.copy(file, tmp_path / "support" / name)
    asked = f"--input={folder / 'data/train'}", f"--support={tmp_path / 'support'}"
    rows = answers(tmp_path, f"--workdir={folder / 'runs'}", "--strategy=proto", *asked)
    assert list(rows[0]["probabilities"]) == list("abcd")
    right = [row["label"] == row["file"][0] for row in rows]
    assert len(right) == 24
    assert np.mean(right) > 0.7
    assert "depends on the others" not in capsys.readouterr().err


def test_queries_that_share_statistics_are_told_so(study, tmp_path, capsys):
    folder, _ = study
    flags = f"--workdir={folder / 'runs'}", "--strategy=maml"
    data = folder / "data" / "test"
    answers(tmp_path, *flags, f"--support={data}", f"--input={data / 'g'}")
    assert "each one's label depends on the others" in capsys.readouterr().err


def test_parts_hold_every_row_once_and_are_even():
    for count, most in ((1, 5), (5, 5), (11, 5), (24, 7)):
        found = list(parts(count, most))
        assert np.concatenate(found).tolist() == list(range(count))
        sizes = {len(part) for part in found}
        assert max(sizes) <= most
        assert max(sizes) - min(sizes) <= 1


TOPICS = ("red", "blue", "green", "one", "two", "six", "sun", "sea", "sky")


def test_texts_by_a_frozen_model_from_a_table(golden, tmp_path, monkeypatch):
    """Three ways, where the study had two; texts in parts of a few rows."""
    monkeypatch.setenv("TL_JAX_CACHE", str(tmp_path / "cache"))
    shutil.copytree(golden / "bert" / "bert_model", tmp_path / "model")
    words = [*SPECIAL, *map(str, range(46)), *TOPICS]
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(words) + "\n")
    rows = [f"{t} {t} {i},{t}" for i in range(6) for t in TOPICS]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    config = small(tmp_path / "model", tmp_path / "rows.csv", task="fewshot")
    config.data.validation = config.data.test = 0.3
    config.episodes.ways, config.episodes.queries = 2, 2
    config.episodes.validation, config.episodes.test = 2, 4
    config.batch_size, config.eval_batch_size = 1, 2
    own = {"learner": {"learner": "linear_probe", "ways": 2}, "frozen": True}
    config.reference = ""
    run(strategies(config, probe=own | {"steps": 0}), tmp_path / "runs")
    chosen = [r for r in rows if r.split(",")[1] in ("sun", "sea", "sky")]
    (tmp_path / "few.csv").write_text("\n".join(["text,label", *chosen[:6]]) + "\n")
    asked = [row.split(",")[0] for row in chosen[6:]]
    (tmp_path / "new.txt").write_text("\n".join(asked) + "\n")
    flags = [f"--workdir={tmp_path / 'runs'}", f"--support={tmp_path / 'few.csv'}"]
    flags += [f"--input={tmp_path / 'new.txt'}", f"--output={tmp_path / 'out.csv'}"]
    assert main(flags) == 0
    with (tmp_path / "out.csv").open() as file:
        found = list(csv.DictReader(file))
    assert list(found[0])[3:] == ["p(sea)", "p(sky)", "p(sun)"]
    right = [row["label"] == text[:3] for row, text in zip(found, asked, strict=True)]
    assert len(right) == 12
    assert np.mean(right) > 0.7


def refused(capsys, *flags):
    """What the command says of a mistake."""
    assert main(list(flags)) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("\n") == 1
    return said


def test_mistakes_are_named(study, tmp_path, capsys, monkeypatch):
    from experiments import from_support

    folder, _ = study
    monkeypatch.setattr(from_support, "_logits", lambda *args: 1 / 0)
    workdir, data = f"--workdir={folder / 'runs'}", folder / "data"
    new = f"--input={data / 'test' / 'g'}"
    said = refused(capsys, workdir, new)
    assert "only after a support set: give --support" in said

    def of(support, strategy="proto", *more):
        given = f"--support={support}", f"--strategy={strategy}", *more
        return refused(capsys, workdir, *given, *(() if more else (new,)))

    assert "--support: there is no file or folder" in of(tmp_path / "none")
    for name in ("maml", "baseline"):
        said = of(data / "train", name)
        assert f"has 4 classes, but '{name}'" in said
        assert "at most 2 apart" in said
    (tmp_path / "one" / "a").mkdir(parents=True)
    shutil.copy(data / "test/g/0.png", tmp_path / "one" / "a")
    assert "only class is 'a', expected 2 or more" in of(tmp_path / "one")
    (tmp_path / "texts.csv").write_text("text,label\nred,a\nblue,b\n")
    assert "holds texts, but the study is of pictures" in of(tmp_path / "texts.csv")
    (tmp_path / "sets.jsonl").write_text('{"text": "red", "label": ["a", "b"]}\n')
    assert "a class an example, found multi-label" in of(tmp_path / "sets.jsonl")
    (tmp_path / "odd.csv").write_text("text,lable\nred,a\nblue,b\n")
    assert "no column 'label'; nearest: lable" in of(tmp_path / "odd.csv")
    assert "--support" in of(data / "test" / "g")  # no folder of a class in it
    assert "none of" in of(data / "test", "proto", f"--input={tmp_path / 'texts.csv'}")


@pytest.mark.parametrize("task", ["classification", "fewshot_regression"])
def test_other_studies_read_no_support_set(task, tmp_path, capsys):
    info = {"metric": "m", "strategies": {"a": {}}, "seeds": [0], "task": task}
    (tmp_path / "study.json").write_text(json.dumps(info))
    flags = f"--workdir={tmp_path}", f"--input={tmp_path}", f"--support={tmp_path}"
    said = refused(capsys, *flags)
    assert f"study of task '{task}'" in said
