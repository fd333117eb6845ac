# SPDX-License-Identifier: Apache-2.0
"""The README's Python runs as it stands, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lightning_monocon import cli, recipes
from lightning_monocon.encoders.text.source import PACKAGED, locate


def _blocks(root: Path, language: str) -> list[str]:
    text = (root / "README.md").read_text(encoding="utf-8")
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")  # as transformers' trainer does on a CPU
def test_python_blocks_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the logger writes beside the script
    model, _ = locate(PACKAGED)  # what the hub has under that name
    blocks = [block.replace('"all-MiniLM-L6-v2"', repr(model)) for block in _blocks(root, "python")]
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert len(names["asked"]) == len(names["answers"]) > 0


def test_drop_in_example_is_short(root: Path) -> None:
    assert len([line for line in _blocks(root, "python")[0].splitlines() if line.strip()]) < 10


def test_commands_and_recipes_exist(root: Path) -> None:
    lines = [line.split("#")[0].split() for block in _blocks(root, "sh") for line in block.splitlines()]
    calls = [words for words in lines if words[:1] == ["monocon"]]
    assert {words[1] for words in calls} == {*cli._HOMES, "recipes"}
    configs = {words[words.index("--config") + 1] for words in calls if "--config" in words}
    assert {name for name in configs if not name.endswith(".yaml")} <= set(recipes.names())
