# SPDX-License-Identifier: Apache-2.0
"""What an arm's numbers can order, by its size."""

from __future__ import annotations

import pytest

from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.limit_sentences import limit_lines


def test_every_arm_has_a_line_at_the_size_to_keep(card: Scorecard) -> None:
    lines = {sentence.about: sentence.text for sentence in limit_lines(card)}
    assert list(lines) == [arm.name for arm in card.arms]
    assert lines["flat"] == "1 number can order no more than 2 rows freely; the gallery has 600."
    k = max(score.n99 for score in card.arm("encoder").scores)
    rows = -10.5322 + 4.0309 * k + 0.0520 * k**2 + 0.0037 * k**3
    about = int(float(f"{rows:.2g}"))
    assert lines["encoder"].startswith(f"{k} numbers can order about {about} rows freely by that fit; ")


@pytest.mark.parametrize(
    ("n99", "ending"), [(64, "about 1,400 rows freely by that fit; the gallery has 600, which is fewer.")]
)
def test_a_gallery_below_the_limit_is_said_to_be(
    n99: int, ending: str, card: Scorecard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorecard, "size_of", lambda self, arm: n99)
    assert all(sentence.text.endswith(ending) for sentence in limit_lines(card))
