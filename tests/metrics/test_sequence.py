import numpy as np
import pytest

from tl_jax.metrics import sequence


def test_tokens_without_a_label_do_not_count():
    guess = np.array([[1, 2, 0], [1, 1, 1]])
    labels = np.array([[1, 0, -100], [-100, 1, -100]])
    assert sequence.token_accuracy(guess, labels) == pytest.approx(2 / 3)
    logits = np.eye(3)[guess]
    assert sequence.token_accuracy(logits, labels) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no token"):
        sequence.token_accuracy(guess, np.full((2, 3), -100))
    with pytest.raises(ValueError, match="shape"):
        sequence.token_accuracy(guess, labels[:1])


@pytest.mark.parametrize(
    "tags, spans",
    [
        ("O O", set()),
        ("B-PER I-PER O B-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("B-PER B-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("I-PER I-PER", {("PER", 0, 2)}),
        ("B-PER I-LOC I-LOC", {("PER", 0, 1), ("LOC", 1, 3)}),
        ("B-A-B I-A-B", {("A-B", 0, 2)}),
        ("", set()),
    ],
)
def test_spans_of_worked_sentences(tags, spans):
    assert sequence.bio_spans(tags.split()) == spans


@pytest.mark.parametrize("tag", ["S-PER", "B", "O-PER", "B-", ""])
def test_other_tags_raise(tag):
    with pytest.raises(ValueError, match=r"tag '.*' at 1"):
        sequence.bio_spans(["O", tag])


def test_entity_f1_of_a_worked_example():
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "O"]]
    guess = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "B-ORG", "I-ORG"]]
    # one of three found is right, one of three real is found
    assert sequence.entity_f1(guess, truth) == pytest.approx(1 / 3)
    assert sequence.entity_f1(truth, truth) == 1.0
    assert sequence.entity_f1([["O"]], [["O"]]) == 0.0
    with pytest.raises(ValueError, match="sentence 0: 1 tags for 2"):
        sequence.entity_f1([["O"]], [["O", "O"]])
    with pytest.raises(ValueError, match="1 predictions for 2"):
        sequence.entity_f1([["O"]], truth)


def test_answers_are_normalised():
    assert sequence.normalise("The  Cat's, an\tapple!") == "cats apple"
    assert sequence.normalise("theatre a-b") == "theatre ab"


def test_answers_of_worked_examples():
    guess = ["the Eiffel Tower", "in 1912", "", "north"]
    answers = ["Eiffel tower.", ["1913", "1912"], "", "south"]
    assert sequence.exact_match(guess, answers) == 0.5
    # 1, 2 * 1 / (2 + 1), 1, 0
    assert sequence.token_f1(guess, answers) == pytest.approx((1 + 2 / 3 + 1) / 4)
    assert sequence.token_f1(["a a x x"], ["x y"]) == 0.5
    assert sequence.token_f1(["x"], [""]) == 0.0


def test_bad_answers_raise():
    with pytest.raises(ValueError, match="1 predictions for 2"):
        sequence.exact_match(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="example 0 has no answer"):
        sequence.token_f1(["a"], [[]])
