"""Scores of texts, by hand; the libraries own the rest."""

import pytest

from tl_jax.metrics import text


def test_rouge_by_hand():
    """Two of three and of four words are shared: F = 2 * 2/4 * 2/3 / (2/4 + 2/3)."""
    said, wanted = ["the red sun set"], ["the sun rose"]
    assert text.rouge(said, wanted, "rouge1") == pytest.approx(4 / 7)
    assert text.rouge(said, wanted, "rougeL") == pytest.approx(4 / 7)
    assert text.rouge(said, wanted, "rouge2") == 0
    both = text.rouge([*said, "The sun rose!"], wanted * 2)
    assert both == pytest.approx((4 / 7 + 1) / 2)


def test_bleu_by_hand():
    """Precisions 3/4, 2/3, 1/2 and 0 of 1, which is smoothed to 1/2."""
    found = text.bleu(["the red sun set"], ["the red sun rose"])
    assert found == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25)
    assert text.bleu(["a b c d"], ["a b c d"]) == pytest.approx(100)


def test_exact_but_for_white_space_at_the_ends():
    assert text.exact(["a b", "a  b"], [" a b ", "a b"]) == 0.5


@pytest.mark.parametrize("metric", [text.rouge, text.bleu, text.exact])
def test_lists_that_do_not_fit(metric):
    with pytest.raises(ValueError, match=f"{metric.__name__}: 1 texts and 2 ref"):
        metric(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="0 texts and 0 ref"):
        metric([], [])


def test_an_unknown_rouge_and_a_missing_library(monkeypatch):
    with pytest.raises(ValueError, match="'rouge3', known: rouge1, rouge2, rougeL"):
        text.rouge(["a"], ["a"], "rouge3")
    with pytest.raises(ModuleNotFoundError, match="`pip install sacreblue`"):
        text._library("sacreblue", "sacreblue")
