# SPDX-License-Identifier: Apache-2.0
"""The whole scorecard as text for a terminal and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import fill

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.sentences import (
    LEGEND,
    STAGES,
    best_lines,
    bottom_line,
    byte_lines,
    effect_lines,
    headline,
    null_lines,
    rule_lines,
    title,
    verdict_lines,
)
from lightning_monocon.scorecard.render.tables import BEST, TIED, accuracy_table, frontier_table, shape_table

_COLUMNS = 110
"""Characters at which the words wrap in a terminal."""

NULLS = "Made from the baseline; none of them may be called compact."
CAUSES = "Each line sets two arms side by side that differ in one thing only."


def as_text(card: Scorecard) -> str:
    """The whole scorecard for a terminal."""
    mark = f"{BEST} best at this size   {TIED} within the noise of the best"
    parts = [
        headline(card),
        fill(bottom_line(card), _COLUMNS),
        accuracy_table(card).as_text(),
        shape_table(card).as_text(),
        frontier_table(card).as_text() + f"\n{mark}",
        _section("Best at each size", best_lines(card)),
        _section("Best at each number of bytes", byte_lines(card)),
        _section("Verdicts", verdict_lines(card)),
        _section("Constraint against initialisation", effect_lines(card)),
        _section(other_rule(card), rule_lines(card)),
        _section("Null models, made from the baseline: none of them may be called compact", null_lines(card)),
        _section("How to read this", LEGEND),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def as_markdown(card: Scorecard, figures: Sequence[tuple[str, str]] = ()) -> str:
    """The whole scorecard as Markdown, with the figures ``(file name, caption)`` at the end."""
    marks = f"`{BEST}` best at this size, `{TIED}` within the noise of the best."
    parts = [
        f"# {title(card)}",
        bottom_line(card),
        headline(card),
        _origin(card),
        accuracy_table(card).as_markdown(),
        shape_table(card).as_markdown(),
        _chapter("Best at each size", best_lines(card), frontier_table(card).as_markdown(), marks),
        _chapter("Best at each number of bytes", byte_lines(card)),
        _chapter("Verdicts", verdict_lines(card)),
        _chapter("Constraint against initialisation", effect_lines(card), CAUSES),
        _chapter(other_rule(card), rule_lines(card), *_other_table(card)),
        _chapter("Null models", null_lines(card), NULLS),
        _chapter("How to read this", LEGEND),
        _pictures(figures),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def other_rule(card: Scorecard) -> str:
    """Title of the section on the other checkpoint rule."""
    stage = card.alternative.stage if card.alternative else ""
    return f"Under the other checkpoint rule: {STAGES.get(stage, stage)}"


def _other_table(card: Scorecard) -> tuple[str, ...]:
    return (frontier_table(card.alternative).as_markdown(),) if card.alternative else ()


def _section(title: str, lines: Iterable[str]) -> str:
    """A titled paragraph; nothing without lines."""
    wrapped = [fill(line, _COLUMNS, initial_indent="  ", subsequent_indent="    ") for line in lines]
    return "\n".join([title, *wrapped]) if wrapped else ""


def _chapter(title: str, lines: Sequence[str], *rest: str) -> str:
    """A heading, its lines as bullets and whatever follows; nothing without lines."""
    return "\n\n".join([f"## {title}", "\n".join(f"- {line}" for line in lines), *rest]) if lines else ""


def _origin(card: Scorecard) -> str:
    """Data, recipe, encoder, date and command as a list; nothing where the card does not know them."""
    lines = card.origin.lines() if card.origin else []
    return "\n".join(f"- {name}: {_code(value)}" for name, value in lines)


def _code(value: str) -> str:
    """A value as code, in which nothing is markup; quoted by more backticks than it holds."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", value)), default=0))
    pad = " " if "`" in value else ""
    return f"{ticks}{pad}{value}{pad}{ticks}"


def _pictures(figures: Sequence[tuple[str, str]]) -> str:
    shown = [f"![{caption}]({name})\n\n*{caption}*" for name, caption in figures]
    return "\n\n".join(["## Figures", *shown]) if shown else ""
