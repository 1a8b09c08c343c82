"""Every task from a file to a report, and to predictions on new texts."""

import csv
import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_study import labelled, result, run, small, strategies, write

from configs.strategies import FREEZE, GRADUAL, HEAD, LP_FT
from experiments import launch, store
from experiments.loop import Stopped
from experiments.predict import main

LORA = {"transform": "lora", "rank": 2, "where": r"blocks/\d+/attention/query"}
LONGER = {"title": "", "plan": (FREEZE, LORA, HEAD), "rate": 1e-2, "average": 0.9}
CASES = {
    "classification": (".csv", {"lp_ft": LP_FT | {"rate": 1e-3}, "lora": LONGER}),
    "regression": (".tsv", {"probe": {"plan": (FREEZE,), "fit": "linear_probe"}}),
    "multilabel": (".jsonl", {"probe": {"plan": (FREEZE,), "fit": "linear_probe"}}),
    "tokens": (".jsonl", {"probe": {"plan": (FREEZE,), "fit": "linear_probe"}}),
    "span": (".jsonl", {"head": {"plan": (FREEZE, HEAD), "rate": 1e-2}}),
}
HEADLINE = {
    "classification": ("accuracy", 0.6),
    "regression": ("pearson", 0.6),
    "multilabel": ("micro_f1", 0.7),
    "tokens": ("entity_f1", 0.3),
    "span": ("exact_match", 0.0),
}


@pytest.fixture(scope="module")
def studies(tiny_model, tmp_path_factory):
    """Task -> a finished study of it, run when it is first asked for."""
    made = {}

    def study(task):
        if task not in made:
            folder = tmp_path_factory.mktemp(task)
            suffix, named = CASES[task]
            config = small(tiny_model, write(folder, task, suffix), task=task)
            config.every.evaluate = 4
            run(strategies(config, **named), folder / "runs")
            made[task] = folder
        return made[task]

    return study


@pytest.mark.parametrize("task", CASES)
def test_a_study_of_each_task(task, studies):
    workdir = studies(task) / "runs"
    metric, least = HEADLINE[task]
    info = json.loads((workdir / "study.json").read_text())
    assert (info["task"], info["metric"]) == (task, metric)
    assert (workdir / "report.html").is_file()
    first = next(iter(CASES[task][1]))
    found = result(workdir, first)
    assert found["test"][metric] >= least
    low, high = found["test"]["intervals"][metric]
    assert low <= found["test"][metric] <= high


@pytest.mark.parametrize("task", CASES)
def test_predictions_are_those_that_the_run_saved(task, studies):
    folder = studies(task)
    suffix, named = CASES[task]
    for strategy in named:
        saved = dict(np.load(folder / "runs" / strategy / "0" / "predictions.npz"))
        new, output = folder / f"new{suffix}", folder / "answers.jsonl"
        new.write_text((folder / f"{task}{suffix}").read_text())
        flags = [f"--workdir={folder / 'runs'}", f"--input={new}"]
        assert main([*flags, f"--output={output}", f"--strategy={strategy}"]) == 0
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        assert [row["row"] for row in rows] == list(range(len(labelled(task))))
        for at, logits, chosen in zip(
            saved["index"], saved["logits"], saved["predictions"], strict=True
        ):
            compare(task, folder, rows[at], labelled(task)[at], logits, chosen)


def compare(task, folder, row, truth, logits, chosen):
    """One answer against the logits and the decision that the run saved."""
    classes = json.loads((folder / "runs" / "study.json").read_text())["classes"]
    if task == "classification":
        odds = np.exp(logits) / np.exp(logits).sum()
        assert row["label"] == classes[chosen]
        np.testing.assert_allclose(
            list(row["probabilities"].values()), odds, atol=1e-5, rtol=1e-4
        )
        assert row["probability"] == max(row["probabilities"].values())
    elif task == "regression":
        np.testing.assert_allclose(row["number"], chosen, rtol=1e-4)
    elif task == "multilabel":
        assert row["labels"] == [c for c, y in zip(classes, chosen, strict=True) if y]
    elif task == "tokens":
        assert row["tokens"] == truth["tokens"]
        fitting = len([tag for tag in row["tags"] if tag is not None])
        # One piece a word: the class token, the words, the separator.
        wanted = [classes[i] for i in chosen[1 : 1 + fitting]]
        assert row["tags"] == wanted + [None] * (len(row["tags"]) - fitting)
    else:
        # Word pieces of [CLS] sun [SEP] context: a piece a word.
        words = truth["context"].split()
        first, last = chosen - 3
        inside = 0 <= first <= last < len(words)
        assert row["answer"] == (" ".join(words[first : last + 1]) if inside else "")


def test_the_default_is_the_best_on_validation(studies, capsys, tmp_path):
    workdir = studies("classification") / "runs"
    scores = {
        s: result(workdir, s)["validation"]["accuracy"] for s in ("lora", "lp_ft")
    }
    (tmp_path / "new.txt").write_text("red blue\n\none two six\n")
    assert main([f"--workdir={workdir}", f"--input={tmp_path / 'new.txt'}"]) == 0
    said = capsys.readouterr().out
    assert f"{max(scores, key=scores.get)}, seed 0" in said
    assert "p(a)" in said


def test_csv_output(studies, tmp_path):
    workdir = studies("classification") / "runs"
    (tmp_path / "new.tsv").write_text("id\ttext\n7\tred blue\n8\tsun\n")
    flags = [f"--workdir={workdir}", f"--input={tmp_path / 'new.tsv'}"]
    assert main([*flags, f"--output={tmp_path / 'out.csv'}"]) == 0
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "label", "probability", "p(a)", "p(b)", "p(c)"]
    assert [row["row"] for row in rows] == ["0", "1"]
    assert sum(float(rows[1][f"p({c})"]) for c in "abc") == pytest.approx(1)


MISTAKES = {
    "no workdir": ({"workdir": "no/runs"}, ("no/runs", "does not exist")),
    "no study": ({"workdir": "."}, ("study.json",)),
    "unknown strategy": ({"strategy": "lorra"}, ("'lorra'", "lora")),
    "unknown seed": ({"strategy": "lora", "seed": "5"}, ("--seed 5", "there are: 0")),
    "missing file": ({"input": "none.csv"}, ("none.csv",)),
    "missing column": ({"input": "other.csv"}, ("row 0", "'text'", "txet")),
    "empty": ({"input": "empty.csv"}, ("empty.csv", "no examples")),
    "blank": ({"input": "blank.txt"}, ("blank.txt", "no texts")),
    "other ending": ({"input": "new.doc"}, (".doc", ".txt")),
    "other output": ({"output": "out.xls"}, (".xls", ".jsonl")),
    "no folder": ({"output": "none/out.csv"}, ("none/out.csv", "no folder")),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_of_predict(case, studies, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.txt").write_text("red\n")
    (tmp_path / "other.csv").write_text("txet\nred\n")
    (tmp_path / "empty.csv").write_text("text\n")
    (tmp_path / "blank.txt").write_text("\n \n")
    before = sorted(tmp_path.rglob("*"))
    changed, named = MISTAKES[case]
    given = {"workdir": studies("classification") / "runs", "input": "new.txt"}
    flags = [f"--{name}={value}" for name, value in (given | changed).items()]
    assert main(flags) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("\n") < 6
    for part in named:
        assert part in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_base_that_changed_is_refused(studies, tmp_path, capsys):
    """Another run's header names other weights than the spec now holds."""
    folder = studies("classification")
    (tmp_path / "new.txt").write_text("red\n")
    run_folder = folder / "runs" / "lora" / "0"
    file = run_folder / store.MODEL
    kept = file.read_bytes()
    arrays, header = store.read_model(run_folder)
    flags = [f"--workdir={folder / 'runs'}", f"--input={tmp_path / 'new.txt'}"]
    try:
        other = json.dumps(header | {"hash": "0" * 64})
        save_file(arrays, file, {"base": other})
        assert main([*flags, "--strategy=lora"]) == 2
        assert "was trained from weights of hash 0000" in capsys.readouterr().err
        fewer = {k: v for k, v in arrays.items() if "head" not in k}
        save_file(fewer, file, {"base": json.dumps(header)})
        assert main([*flags, "--strategy=lora"]) == 2
        assert "lacks 'head/bias'" in capsys.readouterr().err
        file.write_bytes(kept[:100])
        assert main([*flags, "--strategy=lora"]) == 2
        assert "is damaged" in capsys.readouterr().err
        (run_folder / "result.json").rename(tmp_path / "result.json")
        assert main([*flags, "--strategy=lora"]) == 2
        assert "no run of it has ended" in capsys.readouterr().err
    finally:
        file.write_bytes(kept)
        if (tmp_path / "result.json").exists():
            (tmp_path / "result.json").rename(run_folder / "result.json")


def test_gradual_unfreezing_from_a_folder(tiny_model, tmp_path):
    """Phases one after another, each with its own share of the steps."""
    config = small(tiny_model, write(tmp_path, "classification", ""))
    config.steps = 8
    config.class_weights, config.smoothing = "balanced", 0.1
    run(strategies(config, gradual=GRADUAL | {"rate": 1e-3}), tmp_path / "runs")
    found = result(tmp_path / "runs", "gradual")
    assert found["starts"] == [0, 2, 4, 6]
    assert found["trainable"] == found["total"]


def test_patience_ends_a_run_and_the_best_step_is_kept(tiny_model, tmp_path):
    config = small(tiny_model, write(tmp_path, "classification", ".csv"))
    config.steps, config.patience = 40, 2
    config.optimiser.name = "sgd"
    config.optimiser.schedule = "constant"
    config.optimiser.clip = 0.0
    config.accumulate = 2
    worse = {"plan": (FREEZE, HEAD), "rate": 1e-12}
    workdir = tmp_path / "runs"
    run(strategies(config, worse=worse), workdir)
    found = result(workdir, "worse")
    assert found["steps"] == 6
    assert found["best_step"] == 2


def test_lbfgs_takes_no_rate(tiny_model, tmp_path):
    config = small(tiny_model, write(tmp_path, "classification", ".csv"))
    config.optimiser.name = "lbfgs"
    config.model.dropout = 0.0
    config.batch_size, config.steps = 43, 6
    config.every.evaluate, config.select = 6, "last"
    config.every.log = 1
    workdir = tmp_path / "runs"
    run(strategies(config, head={"plan": (FREEZE, HEAD)}), workdir)
    lines = (workdir / "head" / "0" / "records.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert losses[-1] < 0.8 * losses[0]


def test_no_run_begins_after_a_signal(tiny_model, tmp_path):
    config = small(tiny_model, write(tmp_path, "classification", ".csv"))
    with pytest.raises(Stopped):
        launch.study(config, tmp_path / "runs", ["test"], lambda: True)
    left = {path.name for path in (tmp_path / "runs").iterdir()}
    assert left == {"study.json", ".lock"}


def test_more_seeds_and_strategies_join_a_study(tiny_model, tmp_path):
    source = write(tmp_path, "classification", ".csv")
    probe = {"plan": (FREEZE,), "fit": "linear_probe"}
    config = strategies(small(tiny_model, source), one=probe, two=probe)
    config.run, config.steps, config.epochs = "one", 0, 1.0
    run(config, tmp_path / "runs")
    before = (tmp_path / "runs" / "one" / "0" / "result.json").read_bytes()
    config.run, config.seeds = "one,two", (0, 1)
    info = run(config, tmp_path / "runs")
    assert list(info["strategies"]) == ["one", "two"]
    assert info["seeds"] == [0, 1]
    assert (tmp_path / "runs" / "one" / "0" / "result.json").read_bytes() == before
    assert result(tmp_path / "runs", "two", 1)["seed"] == 1
