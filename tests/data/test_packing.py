"""Rows of several texts: nothing lost, nothing twice, answers alone learned; chats."""

import numpy as np
import pytest

from tl_jax.data.chat import chat_text, question_text
from tl_jax.data.instructions import instructions
from tl_jax.data.packing import answered, best_fit, packed
from tl_jax.data.ragged import ragged

IGNORED = -100


def rows_of(column):
    ends = zip(column.offsets[:-1], column.offsets[1:], strict=True)
    return [column.flat[a:b].tolist() for a, b in ends]


def test_the_answer_alone_is_learned():
    tokens, labels = answered([[5, 6], [7]], [[8, 2], [9, 9, 2]])
    assert rows_of(tokens) == [[5, 6, 8, 2], [7, 9, 9, 2]]
    assert rows_of(labels) == [[IGNORED, IGNORED, 8, 2], [IGNORED, 9, 9, 2]]


def test_packed_by_hand():
    tokens = ragged([[1, 2, 3], [4, 5], [6, 7, 8, 9], [10]])
    labels = ragged([[1, 2, 3], [-100, 5], [-100, -100, 8, 9], [10]], IGNORED)
    found = packed(tokens, labels, 5)
    assert rows_of(found.tokens) == [[6, 7, 8, 9, 10], [1, 2, 3, 4, 5]]
    assert rows_of(found.segments) == [[1, 1, 1, 1, 2], [1, 1, 1, 2, 2]]
    said = [[-100, -100, 8, 9, -100], [-100, 2, 3, -100, 5]]
    assert rows_of(found.labels) == said


def test_no_text_is_lost_and_none_is_twice():
    rng = np.random.default_rng(0)
    texts = [
        (100 * i + np.arange(n)).tolist() for i, n in enumerate(rng.integers(1, 20, 60))
    ]
    column = ragged(texts)
    found = packed(column, column, 20)
    assert found.tokens.lengths.max() <= 20
    back = []
    for row, parts in zip(rows_of(found.tokens), rows_of(found.segments), strict=True):
        for part in range(1, max(parts) + 1):
            back.append([t for t, p in zip(row, parts, strict=True) if p == part])
    assert sorted(back) == sorted(texts)
    assert found.tokens.rows <= 1.1 * -(-column.flat.size // 20)


def test_long_texts_are_cut_into_pieces():
    column = ragged([list(range(12))])
    found = packed(column, column, 5)
    assert sorted(rows_of(found.tokens)) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]


def test_best_fit_takes_the_fullest_bin():
    assert best_fit([4, 3, 2, 1], 5) == [[0, 3], [1, 2]]
    assert best_fit([5, 5], 5) == [[0], [1]]


def test_bad_rows():
    one, two = ragged([[1]]), ragged([[1, 2]])
    with pytest.raises(ValueError, match="length is 1, expected 2 or more"):
        packed(one, one, 1)
    with pytest.raises(ValueError, match="differ in their lengths"):
        packed(one, two, 4)


TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_chats_by_a_template():
    assert question_text(TEMPLATE, "Hi?") == "<user>Hi?</>\n<assistant>"
    text = question_text(TEMPLATE, "Hi?", "Be short.")
    assert text == "<system>Be short.</>\n<user>Hi?</>\n<assistant>"
    assert question_text(None, "Hi?") == "Hi?\n"
    assert question_text(None, "Hi?", "Be short.") == "Be short.\nHi?\n"


@pytest.mark.parametrize(
    "template, text",
    [
        ("{{ raise_exception('only users') }}", "only users"),
        ("{% for %}", "the chat template fails"),
        ("{{ messages.append(1) }}", "the chat template fails"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "the chat template fails"),
    ],
)
def test_templates_that_fail_or_reach_out(template, text):
    with pytest.raises(ValueError, match=text):
        chat_text(template, [{"role": "user", "content": "x"}])


def test_instructions_have_one_answer_each():
    found = instructions()
    texts, targets = found.inputs["text"], found.inputs["target"]
    assert len(texts) == 317
    assert len(set(texts)) == len(texts)
    both = dict(zip(texts, targets, strict=True))
    assert both["Which day comes after Sunday?"] == "Monday"
    assert both["Which month comes before January?"] == "December"
    assert both["Write the word river in capital letters."] == "RIVER"
    groups = dict(zip(texts, found.groups.tolist(), strict=True))
    same = "What is the capital of Cuba?", "Name the capital city of Cuba."
    assert groups[same[0]] == groups[same[1]]
