# SPDX-License-Identifier: Apache-2.0
"""State once which sections a report has, and in which order, for the terminal, Markdown and HTML alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.certificate_sentences import (
    certificate_intro,
    certificate_lines,
    certificate_table,
)
from lightning_monocon.scorecard.render.figures import caption
from lightning_monocon.scorecard.render.graph_sentences import graph_intro, graph_lines, graph_table
from lightning_monocon.scorecard.render.legend import legend
from lightning_monocon.scorecard.render.limit_sentences import LIMITS, limit_lines
from lightning_monocon.scorecard.render.sentences import (
    CAUSES,
    CROSSED,
    MARKS,
    NULLS,
    STAGES,
    Sentence,
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
from lightning_monocon.scorecard.render.tables import Table, accuracy_table, frontier_table, shape_table
from lightning_monocon.scorecard.render.truth_sentences import truth_lines

PROVED = "Answers that are proved"
"""Title of the section and of the page of its own."""


@dataclass(frozen=True)
class Section:
    """Hold what a printer shows under one heading, in this order.

    Attributes:
        title: The heading.
        intro: A remark on what follows; empty if there is none.
        sentences: Entries of a list.
        tables: Tables.
        figures: File names and captions.
    """

    title: str
    intro: str = ""
    sentences: Sequence[Sentence] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Outline:
    """Hold a whole report.

    Attributes:
        title: Its heading.
        summary: What is measured unless it is labels, the bottom line, and what was compared.
        origin: Names and values: data, recipe, encoder, date and command.
        sections: Its sections, none of them empty.
    """

    title: str
    summary: Sequence[Sentence]
    origin: Sequence[tuple[str, str]]
    sections: Sequence[Section]


def outline(card: Scorecard, figures: Iterable[str] = ()) -> Outline:
    """Return the report of a scorecard.

    Args:
        card: The scorecard.
        figures: File names of the figures that are shown.
    """
    origin = card.origin.lines() if card.origin else ()
    filled = [part for part in _sections(card, figures) if part.sentences or part.tables or part.figures]
    return Outline(title(card), (*truth_lines(card), bottom_line(card), headline(card)), origin, filled)


def proved_outline(card: Scorecard, figures: Iterable[str] = ()) -> Outline:
    """Return a report of nothing but what is proved of the arms' answers."""
    shown = [(name, caption(name, card)) for name in figures if name == "certificates.png"]
    arms = Section("Arms with a head", certificate_intro(card), tables=_proofs(card), figures=shown)
    return Outline(PROVED, certificate_lines(card), (), [arms] if card.certificates else [])


def _proofs(card: Scorecard) -> list[Table]:
    return [certificate_table(card)] if card.certificates else []


def _sections(card: Scorecard, figures: Iterable[str]) -> Iterator[Section]:
    """Yield every section that a report may have; those that do not apply are empty."""
    yield Section("Verdicts", sentences=verdict_lines(card))
    yield Section("Best at each size", MARKS, best_lines(card), [frontier_table(card)])
    yield Section("Best at each number of bytes", CROSSED, byte_lines(card))
    yield Section("Measurements", tables=[accuracy_table(card), shape_table(card)])
    if card.graphs:
        yield Section("Searched by a graph", graph_intro(card), graph_lines(card), [graph_table(card)])
    if card.certificates is not None:
        yield Section(PROVED, certificate_intro(card), certificate_lines(card), _proofs(card))
    yield Section("Figures", figures=[(name, caption(name, card)) for name in figures])
    yield Section("What so many numbers can order", LIMITS, limit_lines(card))
    yield Section("Constraint against initialisation", CAUSES, effect_lines(card))
    if card.alternative:
        stage = STAGES.get(card.alternative.stage, card.alternative.stage)
        tables = [frontier_table(card.alternative)]
        yield Section(f"Under the other checkpoint rule: {stage}", MARKS, rule_lines(card), tables)
    yield Section("Null models", NULLS, null_lines(card))
    for other in card.others:
        yield from _of_truth(other)
    yield Section("How to read this", sentences=legend(card))


def _of_truth(card: Scorecard) -> Iterator[Section]:
    """Yield what a further truth has to say; the shapes of the arms are the same for all truths."""
    name = f"Judged by {card.truth.name}"
    yield Section(name, sentences=[bottom_line(card), headline(card)])
    yield Section(f"{name}: verdicts", sentences=verdict_lines(card))
    yield Section(f"{name}: best at each size", MARKS, best_lines(card), [frontier_table(card)])
    yield Section(f"{name}: best at each number of bytes", sentences=byte_lines(card))
    yield Section(f"{name}: measurements", tables=[accuracy_table(card)])
    yield Section(f"{name}: null models", NULLS, null_lines(card))
