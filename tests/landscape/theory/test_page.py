# SPDX-License-Identifier: Apache-2.0
"""Every number that docs/landscape-theory.md prints is the number that its code gives."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from lightning_monocon.landscape import theory

PAGE = "landscape-theory.md"


def test_the_page_runs_and_shows_what_it_gives(root: Path) -> None:
    text = (root / "docs" / PAGE).read_text(encoding="utf-8")
    unfenced = re.sub("^```.*$", "", text, flags=re.MULTILINE)  # or a fence would be part of the output above it
    page = doctest.DocTestParser().get_doctest(unfenced, {}, PAGE, PAGE, 0)
    assert len(page.examples) > 40
    assert doctest.DocTestRunner().run(page).failed == 0


def test_the_page_names_every_module_of_the_toolkit(root: Path) -> None:
    text = (root / "docs" / PAGE).read_text(encoding="utf-8")
    modules = {getattr(theory, name).__module__.rpartition(".")[2] for name in theory.__all__ if name.islower()}
    assert not [name for name in modules - {"estimate"} if f"| `{name}` |" not in text]
