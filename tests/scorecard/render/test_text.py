# SPDX-License-Identifier: Apache-2.0
"""The scorecard as text for a terminal and as Markdown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, as_text, build
from lightning_monocon.scorecard.origin import Origin
from lightning_monocon.scorecard.render.text import as_markdown


def test_the_text_holds_every_figure_and_fits_a_terminal(card: Scorecard) -> None:
    text = as_text(card)
    with pytest.warns(DeprecationWarning, match=r"Scorecard\.table\(\) has moved to .*scorecard\.as_text\(\)"):
        assert text == card.table()
    for word in ("4 arms over seeds 0, 1, 2", "FVU %", "total variance", "PCA rival %", "5-NN % at k =", "±"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 120


def test_lines_end_neither_before_a_per_cent_sign_nor_inside_a_name(sets: dict[str, list[EmbeddingSet]]) -> None:
    name = "-".join(["part"] * 12)
    arms = {"encoder": sets["encoder"][:1], name: [replace(sets["narrow"][0], arm=name)]}
    text = as_text(build(arms, brief=True))
    assert not [line for line in text.splitlines() if line.lstrip().startswith("%")]
    assert "part-\n" not in text and "\N{NO-BREAK SPACE}" not in text


def test_one_seed_has_no_deviations(sets: dict[str, list[EmbeddingSet]]) -> None:
    text = as_text(build({name: runs[:1] for name, runs in sets.items()}, brief=True))
    assert "a single seed does not show the noise of training" in text and "±" not in text


def test_markdown_has_tables_and_figures(card: Scorecard) -> None:
    text = as_markdown(card, ["frontier.png"])
    assert "| arm | D | n99 |" in text and "\n| --- | ---: |" in text
    assert "\n![5-NN accuracy against kept dimensions. " in text and ".](frontier.png)\n" in text
    assert "\n\n\n" not in text and text.endswith(".\n")


def test_backticks_in_a_command_do_not_end_its_code(card: Scorecard) -> None:
    named = replace(card, origin=Origin(command="monocon score `a`"))
    assert "- Command: `` monocon score `a` ``" in as_markdown(named)
