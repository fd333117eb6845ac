# SPDX-License-Identifier: Apache-2.0
"""Change sentences as people do when they type in haste: typos, other letter case, other word order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lightning_monocon.data.corrupted import check_severity
from lightning_monocon.data.keyed_random import key
from lightning_monocon.functional.checks import check_choice

TYPOS = 0.02
"""Share of the letters with a typo, for each step of severity."""

CASING = 0.1
"""Share of the words in capital letters, for each step of severity."""

WORD_ORDER = 0.2
"""Share of the words that change places, for each step of severity."""

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOUR = {letter: row[place - 1] for row in _KEYS for place, letter in enumerate(row)}
"""The key to the left, that of the first key being the last."""


def perturb_sentences(texts: Sequence[str], name: str, severity: int, seed: int = 0) -> list[str]:
    """Return perturbed sentences.

    Args:
        texts: Sentences.
        name: ``"typos"`` (a letter is left out, doubled, swapped with the next character or hit on the key beside it),
            ``"casing"`` (words in capital letters) or ``"word_order"`` (words change places).
        severity: From 1, mild, to 5.
        seed: Seed of the choices, which depend on it, the severity and a sentence's place alone.

    Raises:
        ValueError: If the name or the severity is unknown.
    """
    check_choice("name", name, PERTURBATIONS)
    change, share = _CHANGES[name]
    share *= check_severity(severity)
    return [
        change(text, share, np.random.default_rng(key(seed, name, severity, place))) for place, text in enumerate(texts)
    ]


def _typos(text: str, share: float, draw: np.random.Generator) -> str:
    found, rest = "", text
    while rest:
        letter, rest = rest[0], rest[1:]
        if letter.isalpha() and draw.random() < share:
            kind = draw.integers(4)
            letter, rest = _typo(letter, rest, int(kind))
        found += letter
    return found


def _typo(letter: str, rest: str, kind: int) -> tuple[str, str]:
    """Return what is typed in place of a letter, and what is still to be typed."""
    if kind == 0:
        return "", rest
    if kind == 1:
        return 2 * letter, rest
    if kind == 2:
        return rest[:1] + letter, rest[1:]
    beside = _NEIGHBOUR.get(letter.lower(), letter)
    return beside.upper() if letter.isupper() else beside, rest


def _casing(text: str, share: float, draw: np.random.Generator) -> str:
    return " ".join(word.upper() if draw.random() < share else word for word in text.split(" "))


def _word_order(text: str, share: float, draw: np.random.Generator) -> str:
    words = text.split()
    moved = draw.permutation(len(words))[: round(share * len(words))]
    order = np.arange(len(words))
    order[np.sort(moved)] = moved
    return " ".join(words[place] for place in order)


_CHANGES: dict[str, tuple[Callable[[str, float, np.random.Generator], str], float]] = {
    "typos": (_typos, TYPOS),
    "casing": (_casing, CASING),
    "word_order": (_word_order, WORD_ORDER),
}
PERTURBATIONS = tuple(_CHANGES)
"""The names of the perturbations."""
