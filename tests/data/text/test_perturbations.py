# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import pytest

from lightning_monocon.data.corrupted import SEVERITIES
from lightning_monocon.data.text.perturbations import CASING, PERTURBATIONS, TYPOS, WORD_ORDER, perturb_sentences

SENTENCES = [f"The {n} quick brown foxes jump over lazy dogs, don't they?" for n in range(300)]


def edits(a: str, b: str) -> int:
    """Levenshtein's distance in which a swap of neighbours is one edit, by the table."""
    table = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            known = [table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1])]
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                known.append(table[i - 2][j - 2] + 1)
            table[i][j] = min(known)
    return table[-1][-1]


@pytest.mark.parametrize("severity", [1, 5])
def test_typos_are_single_edits_at_their_rate(severity: int) -> None:
    found = perturb_sentences(SENTENCES[:60], "typos", severity)
    letters = sum(letter.isalpha() for text in SENTENCES[:60] for letter in text)
    share = sum(edits(a, b) for a, b in zip(SENTENCES, found, strict=False)) / letters
    assert share == pytest.approx(TYPOS * severity, rel=0.35)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_casing_changes_letter_case_alone(severity: int) -> None:
    found = perturb_sentences(SENTENCES, "casing", severity)
    assert [text.lower() for text in found] == [text.lower() for text in SENTENCES]
    words = [(a, b) for x, y in zip(SENTENCES, found, strict=True) for a, b in zip(x.split(), y.split(), strict=True)]
    changed = sum(a != b for a, b in words if not a.isdecimal()) / sum(not a.isdecimal() for a, _ in words)
    assert changed == pytest.approx(CASING * severity, abs=0.03)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_word_order_keeps_the_words(severity: int) -> None:
    found = perturb_sentences(SENTENCES, "word_order", severity)
    moved = 0
    for before, after in zip(SENTENCES, found, strict=True):
        assert Counter(before.split()) == Counter(after.split())
        places = sum(a != b for a, b in zip(before.split(), after.split(), strict=True))
        assert places <= round(WORD_ORDER * severity * len(before.split()))
        moved += places
    assert moved > 0


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_one_seed_gives_the_same_sentences(name: str) -> None:
    first, again, other = (perturb_sentences(SENTENCES, name, 3, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_edges_and_mistakes() -> None:
    assert perturb_sentences(["", " ", "a"], "word_order", 5) == ["", "", "a"]
    assert perturb_sentences(["", "12 34"], "typos", 5) == ["", "12 34"]
    with pytest.raises(ValueError, match="`name` must be"):
        perturb_sentences(["a"], "synonyms", 1)
    with pytest.raises(ValueError, match="`severity` must be a whole number from 1 to 5, got 0"):
        perturb_sentences(["a"], "typos", 0)
