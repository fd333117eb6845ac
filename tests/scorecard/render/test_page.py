# SPDX-License-Identifier: Apache-2.0
"""The scorecard as a page."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.page import as_html


@pytest.fixture(scope="module")
def page(card: Scorecard) -> str:
    figures = {}
    for name in ("frontier.png", "recall.png"):
        figures[name] = Figure()
        figures[name].subplots().plot([0, 1])
    return as_html(card, figures)


def test_the_page_needs_nothing_else(page: str) -> None:
    assert not re.search(
        r"(?:https?:|//|<script|<link|url\()", re.sub(r"data:image/svg\+xml;base64,[\w+/=]+", "", page)
    )
    assert page.count('<img src="data:image/svg+xml;base64,') == 2
    assert page.count("<figcaption>") == page.count(' alt="') == 2
    for word in ("Verdicts", "Best at each size", "Null models", "constant-shift cone", "narrow", "PCA rival %"):
        assert word in page
    parser = Tags()
    parser.feed(page)
    assert parser.open == []


def test_the_best_arms_are_seen_without_reading_their_marks(page: str, card: Scorecard) -> None:
    assert page.count('<td class="best">') == len(card.winners)
    assert page.count('<td class="tied">') == sum(len(best.ties) for best in card.winners)
    assert re.findall(r"<li><b>narrow</b>: <em>(.*?)</em>", page) == ["compact"]


def test_names_cannot_break_the_page(card: Scorecard) -> None:
    named = replace(card, arms=(*card.arms[:3], replace(card.arms[3], name="<b>&head")))
    page = as_html(named, {})
    assert "<b>&head" not in page and "&lt;b&gt;&amp;head" in page


class Tags(HTMLParser):
    """Keeps the tags that are still open, and trips over one that closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
