# SPDX-License-Identifier: Apache-2.0
"""The three printed forms of a scorecard are parsed: they must say the same under the same headings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, as_text, build
from lightning_monocon.scorecard.origin import Origin
from lightning_monocon.scorecard.render.outline import outline
from lightning_monocon.scorecard.render.page import as_html
from lightning_monocon.scorecard.render.text import as_markdown

Digits = tuple[Tensor, Tensor, Tensor, Tensor]
Table = list[list[str]]

TITLES = [
    "Verdicts",
    "Best at each size",
    "Best at each number of bytes",
    "Measurements",
    "What so many numbers can order",
    "Constraint against initialisation",
    "Under the other checkpoint rule: best by validation",
    "Null models",
    "How to read this",
]


@dataclass
class Part:
    """What a form says under one heading."""

    title: str
    said: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@pytest.fixture(scope="module")
def card(digits: Digits) -> Scorecard:
    """Digits as pixels and along few random directions, with every section that a report can have."""
    gallery, labels, query, truth = (part[:200] for part in digits)

    def arm(name: str, width: int, stage: str) -> list[EmbeddingSet]:
        turns = (torch.randn(64, width, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
        return [
            EmbeddingSet(gallery @ turn, labels, query @ turn, truth, arm=name, seed=seed, stage=stage)
            for seed, turn in enumerate(turns)
        ]

    widths = {"encoder": 64, "mlp-squared": 16, "monotonic": 3}
    last, best = ({name: arm(name, width, stage) for name, width in widths.items()} for stage in ("last", "best"))
    best["monotonic"] = arm("monotonic", 40, "best")
    origin = Origin(data="digits", recipe="digits", date="today", command="monocon compare")
    return replace(build(last), alternative=build(best, brief=True), origin=origin)


def read_text(text: str) -> list[Part]:
    """Read the form for a terminal: blocks of lines, of which a heading begins at the margin."""
    heading, bottom, headline, origin, *blocks = text.rstrip("\n").split("\n\n")
    parts = [Part(heading, [*(" ".join(block.split()) for block in (bottom, headline)), *origin.splitlines()])]
    for block in blocks:
        first, *lines = block.splitlines()
        if lines and not lines[0].strip("- "):
            parts[-1].tables.append([re.split(r"\s{2,}", line) for line in (first, *lines[1:])])
            continue
        parts.append(Part(first))
        for line in lines:
            if line.startswith("    "):
                parts[-1].said[-1] += f" {line.strip()}"
            else:
                parts[-1].said.append(line.strip())
    return parts


def read_markdown(text: str) -> list[Part]:
    """Read Markdown: blocks apart by empty lines, of which a table begins with a bar and a list with a dash."""
    parts: list[Part] = []
    for block in text.rstrip("\n").split("\n\n"):
        lines = block.splitlines()
        if block.startswith("#"):
            parts.append(Part(block.lstrip("# ")))
        elif block.startswith("|"):
            rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
            assert all(re.fullmatch("-+:?", cell) for cell in rows.pop(1))
            parts[-1].tables.append(rows)
        else:
            plain = (re.sub(r"\*\*([^*]+)\*\*|(?<!\S)\*([^* ][^*]*)\*", r"\1\2", line) for line in lines)
            parts[-1].said += [line.removeprefix("- ").replace("`", "") for line in plain]
    return parts


class _Page(HTMLParser):
    """Collects the text of headings, paragraphs, list entries and cells."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Part] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("h1", "h2", "p", "li", "dt", "th", "td", "figcaption"):
            self.text = ""
        elif tag == "table":
            self.parts[-1].tables.append([])
        elif tag == "tr":
            self.parts[-1].tables[-1].append([])

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h1", "h2"):
            self.parts.append(Part(self.text))
        elif tag in ("th", "td"):
            self.parts[-1].tables[-1][-1].append(self.text.strip())
        elif tag == "dt":
            self.text += ": "
        elif tag in ("p", "li", "dd", "figcaption"):
            self.parts[-1].said.append(self.text)
        self.text = self.text if tag in ("dt", "b", "em") else ""


def read_page(text: str) -> list[Part]:
    page = _Page()
    page.feed(text)
    return page.parts


def test_terminal_markdown_and_page_say_the_same_in_the_same_order(card: Scorecard) -> None:
    terminal, markdown, page = read_text(as_text(card)), read_markdown(as_markdown(card)), read_page(as_html(card, {}))
    assert [part.title for part in terminal] == ["Scorecard: digits", *TITLES]
    assert terminal == markdown
    assert terminal == page
    assert [len(part.tables) for part in terminal] == [0, 0, 1, 0, 2, 0, 0, 1, 0, 0]
    assert all(part.said or part.tables for part in terminal)


def test_the_outline_is_what_they_say(card: Scorecard) -> None:
    report = outline(card)
    for section, part in zip(report.sections, read_page(as_html(card, {}))[1:], strict=True):
        intro = [section.intro] if section.intro else []
        assert part.said == [*intro, *map(str, section.sentences)]
        tables = [[table.header, *table.rows] for table in section.tables]
        assert part.tables == [[[str(cell).strip() for cell in row] for row in table] for table in tables]


def test_figures_stand_under_their_own_heading_where_they_can_be_shown(card: Scorecard) -> None:
    names = ["frontier.png", "recall.png"]
    page, markdown = as_html(card, {name: Figure() for name in names}), as_markdown(card, names)
    for parts in (read_page(page), read_markdown(markdown)):
        assert [part.title for part in parts][4:6] == ["Measurements", "Figures"]
        assert len(parts) == 2 + len(TITLES)
    captions = [caption for _, caption in outline(card, names).sections[4].figures]
    assert read_page(page)[5].said == captions
    assert [line for line in read_markdown(markdown)[5].said if not line.startswith("!")] == captions


def test_a_section_without_content_is_left_out(planted: Callable[..., EmbeddingSet]) -> None:
    titles = [section.title for section in outline(build({"encoder": [planted()]}, brief=True)).sections]
    assert titles == [
        "Verdicts",
        "Best at each size",
        "Measurements",
        "What so many numbers can order",
        "How to read this",
    ]
