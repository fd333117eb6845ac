# SPDX-License-Identifier: Apache-2.0
"""Print the outline of a report as text for a terminal, and as Markdown or HTML from a template."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from textwrap import TextWrapper
from typing import TYPE_CHECKING

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.outline import Outline, Section, outline
from lightning_monocon.scorecard.render.sentences import bottom_line

if TYPE_CHECKING:
    from jinja2 import Template

_COLUMNS = 110
"""Characters at which sentences wrap in a terminal."""


def as_text(card: Scorecard) -> str:
    """Return the whole scorecard for a terminal, which shows no figures."""
    return text(outline(card))


def conclusion(card: Scorecard) -> str:
    """Return the bottom line alone for a terminal: the smallest embedding that keeps the accuracy, in bytes."""
    return wrapped(str(bottom_line(card)))


def text(report: Outline) -> str:
    """Return a report for a terminal, which shows no figures."""
    summary = [wrapped(str(sentence)) for sentence in report.summary]
    origin = "\n".join(wrapped(f"{name}: {value}", hang=4) for name, value in report.origin)
    parts = [report.title, *summary, origin, *map(_section, report.sections)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(section: Section) -> str:
    said = [str(sentence) for sentence in (section.intro, *section.sentences) if sentence]
    lines = [section.title, *(wrapped(sentence, indent=2, hang=4) for sentence in said)]
    return "\n\n".join(["\n".join(lines), *(table.as_text() for table in section.tables)])


def wrapped(text: str, indent: int = 0, hang: int = 0) -> str:
    """Break a paragraph into lines, but neither at the hyphen of a name nor before a per cent sign."""
    wrapper = TextWrapper(_COLUMNS, " " * indent, " " * hang, break_on_hyphens=False, break_long_words=False)
    return wrapper.fill(unbroken(text)).replace("\N{NO-BREAK SPACE}", " ")


def as_markdown(card: Scorecard, figures: Iterable[str] = ()) -> str:
    """Return the whole scorecard as Markdown.

    Args:
        card: The scorecard.
        figures: File names of the figures that lie beside it.
    """
    return markdown(outline(card, figures))


def markdown(report: Outline) -> str:
    """Return a report as Markdown."""
    return template("card.md.jinja").render(report=report)


@cache
def template(name: str) -> Template:
    """Return a template of this folder; one of HTML escapes what is put into it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only a report needs it

    environment = Environment(
        loader=PackageLoader("lightning_monocon.scorecard.render", "."),
        autoescape=name.endswith(".html.jinja"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters.update(code=_code, unbroken=unbroken)
    return environment.get_template(name)


def unbroken(text: str) -> str:
    """Put a no-break space before every per cent sign, which must not begin a line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _code(value: str) -> str:
    """Quote a value as Markdown code, in which nothing is markup, by more backticks than it holds."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", value)), default=0))
    pad = " " if "`" in value else ""
    return f"{ticks}{pad}{value}{pad}{ticks}"
