"""Sources: what they read, and what they say about bad input."""

import json

import numpy as np
import pytest

from tl_jax.data.readers import from_folder, from_questions, from_tagged
from tl_jax.data.sources import from_arrays, size, task
from tl_jax.data.tables import from_table


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_each_kind_of_label_is_recognised():
    texts = {"text": ["a", "b", "c"]}
    classes = from_arrays(texts, ["x", "y", "x"])
    assert (task(classes), classes.classes) == ("classes", ("x", "y"))
    np.testing.assert_array_equal(classes.labels, [0, 1, 0])
    assert from_arrays(texts, [0, 2, 1]).classes == ("0", "1", "2")
    assert task(from_arrays(texts, [0.5, -1.0, 2.0])) == "numbers"
    assert task(from_arrays(texts, np.array([[0, 1], [1, 2], [0, 3]]))) == "spans"
    hot = from_arrays(texts, np.array([[0, 1], [1, 1], [0, 0]]), ("p", "q"))
    assert (task(hot), hot.labels.dtype) == ("multi-label", np.float32)
    words = from_arrays({"words": [["a"], ["b", "c"]]}, [["O"], ["O", "N"]])
    assert (task(words), words.classes) == ("words", ("N", "O"))
    np.testing.assert_array_equal(words.labels[1], [1, 0])
    assert task(from_arrays(texts)) == "none"
    assert size(classes) == 3


@pytest.mark.parametrize(
    "inputs, labels, classes, said",
    [
        ({}, None, (), "no input column"),
        ({"text": []}, None, (), "no examples"),
        ({"text": ["a", 3]}, None, (), "row 1: expected text, found int"),
        ({"text": ["a"], "b": ["a", "b"]}, None, (), "'b' has 2 rows, not 1"),
        ({"x": [[1.0, 2.0], [1.0]]}, None, (), "row 1: shape"),
        ({"x": np.array([[1.0], [np.nan]])}, None, (), "row 1: not finite"),
        ({"text": ["a", "b"]}, [0.0, np.nan], (), "row 1 is not finite"),
        ({"text": ["a", "b"]}, [0, 2], ("n", "p"), "label 2 of row 1"),
        ({"text": ["a", "b"]}, [0, -1], (), "label -1 of row 1"),
        ({"text": ["a", "b"]}, ["pos", "ngg"], ("neg", "pos"), "nearest: neg"),
        ({"text": ["a"]}, [0, 1], (), "2 labels for 1 examples"),
        ({"text": ["a"]}, [0.5], ("n", "p"), "float labels"),
        ({"text": ["a"]}, np.array([[0, 2]]), ("n", "p"), "not 0 or 1"),
        ({"text": ["a"]}, np.array([[0, 1, 0]]), ("n", "p"), "3 columns"),
        ({"words": [["a"]]}, [[5]], ("O",), "row 0"),
    ],
)
def test_bad_arrays_are_named(inputs, labels, classes, said):
    with pytest.raises(ValueError, match=said):
        from_arrays(inputs, labels, classes)


def test_splits_must_name_rows_that_exist():
    with pytest.raises(ValueError, match="'test'"):
        from_arrays({"text": ["a"]}, [0], splits={"test": [1]})


@pytest.mark.parametrize("ending, mark", [("csv", ","), ("tsv", "\t")])
def test_tables(ending, mark, tmp_path):
    path = tmp_path / f"t.{ending}"
    rows = [["body", "mood", "x"], ['"a, b"', "good", "1.5"], ["c", "bad", "2"]]
    path.write_text("\n".join(mark.join(row) for row in rows) + "\n")
    read = from_table(path, text="body", label="mood", features=("x",))
    assert read.inputs["text"] == ["a, b", "c"]
    np.testing.assert_array_equal(read.inputs["features"], [[1.5], [2.0]])
    assert read.classes == ("bad", "good")
    np.testing.assert_array_equal(read.labels, [1, 0])
    scores = from_table(path, text="body", label="x", regression=True)
    np.testing.assert_array_equal(scores.labels, [1.5, 2.0])


def test_json_lines_with_pairs_and_many_labels(tmp_path):
    rows = [{"a": "x", "b": "y", "label": ["p", "q"]}]
    rows += [{"a": "u", "b": "v", "label": []}]
    read = from_table(lines(tmp_path / "t.jsonl", rows), text=("a", "b"))
    assert read.inputs == {"a": ["x", "u"], "b": ["y", "v"]}
    np.testing.assert_array_equal(read.labels, [[1, 1], [0, 0]])


def test_a_document_longer_than_the_csv_module_allows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"text,label\n{'a' * 200_000},x\n")
    assert len(from_table(path).inputs["text"][0]) == 200_000


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "no examples"),
        ("text,label\n", "no examples"),
        ("txt,label\na,b\n", "no column 'text'; nearest: txt"),
        ("text,label\na,b\nc\n", "line 3: 1 fields"),
        (b"text,label\n\xff\xfe,b\n", "not UTF-8"),
    ],
)
def test_bad_tables_are_named(content, said, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=said):
        from_table(path)


def test_bad_files_are_named(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,b\n")
    with pytest.raises(FileNotFoundError, match=r"nearest: train\.csv"):
        from_table(tmp_path / "trian.csv")
    (tmp_path / "t.xml").write_text("x")
    with pytest.raises(ValueError, match=r"'\.xml' is none of"):
        from_table(tmp_path / "t.xml")
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(ValueError, match="line 2"):
        from_table(tmp_path / "t.jsonl", label=None)
    rows = [{"text": "a", "label": "x"}, {"text": "b"}]
    with pytest.raises(ValueError, match="row 1 has no value for 'label'"):
        from_table(lines(tmp_path / "u.jsonl", rows))
    rows = [{"text": "a", "label": "much"}]
    with pytest.raises(ValueError, match="'much' is no number"):
        from_table(lines(tmp_path / "v.jsonl", rows), regression=True)


def test_folder_counts_odd_encodings(tmp_path):
    for name, data in {"good/a": b"fine", "good/b": b"\xa35", "bad/a": b"poor"}.items():
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    read = from_folder(tmp_path)
    assert read.classes == ("bad", "good")
    assert read.inputs["text"] == ["poor", "fine", "£5"]
    np.testing.assert_array_equal(read.labels, [0, 1, 1])
    assert read.notes == ("1 of 3 files read as cp1252",)
    with pytest.raises(ValueError, match=r"b\.txt: the bytes fit none of utf-8"):
        from_folder(tmp_path, encodings=("utf-8",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="class 'empty'"):
        from_folder(tmp_path)
    with pytest.raises(ValueError, match="no folder of a class"):
        from_folder(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        from_folder(tmp_path / "nowhere")


def test_tagged_words(tmp_path):
    rows = [{"tokens": ["Ada", "ran"], "labels": ["PER", "O"]}]
    rows += [{"tokens": ["Hi"], "labels": ["O"]}]
    read = from_tagged(lines(tmp_path / "t.jsonl", rows), classes=("O", "PER"))
    assert read.inputs["words"] == [["Ada", "ran"], ["Hi"]]
    np.testing.assert_array_equal(read.labels[0], [1, 0])
    rows[1]["labels"] = []
    with pytest.raises(ValueError, match="row 1: 1 words, 0 labels"):
        from_tagged(lines(tmp_path / "u.jsonl", rows))
    with pytest.raises(ValueError, match="no field 'words'"):
        from_tagged(tmp_path / "u.jsonl", tokens="words")


def test_questions(tmp_path):
    row = {"question": "Who?", "context": "It was Ada.", "answer_start": 7}
    rows = [row | {"answer_text": "Ada"}]
    read = from_questions(lines(tmp_path / "q.jsonl", rows))
    np.testing.assert_array_equal(read.labels, [[7, 10]])
    assert task(read) == "spans"
    rows = [row | {"answer_text": "Bob"}]
    with pytest.raises(ValueError, match="row 0: the context has 'Ada' at 7"):
        from_questions(lines(tmp_path / "r.jsonl", rows))
    with pytest.raises(ValueError, match="no field 'answer_text'"):
        from_questions(lines(tmp_path / "s.jsonl", [row]))
