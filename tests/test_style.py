# SPDX-License-Identifier: Apache-2.0
"""House rules that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("lightning_monocon", "callbacks", "recipes", "tests", "benchmarks", "docs")
CODE = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))  # rglob does not follow the links
PACKAGE = [path for path in CODE if path.relative_to(ROOT).parts[0] in ("lightning_monocon", "callbacks", "recipes")]
TEXT = [
    *CODE,
    *sorted(path for folder in FOLDERS for kind in ("*.yaml", "*.md") for path in (ROOT / folder).rglob(kind)),
    *sorted(ROOT.glob("*.md")),
    *(ROOT / name for name in ("Makefile", "pyproject.toml", "constraints.txt")),
]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check() -> None:
    assert len(CODE) > 20


@pytest.mark.parametrize("path", CODE, ids=_name)
def test_code_file(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# SPDX-License-Identifier: Apache-2.0"
    assert len(lines) <= 400, "split the file where its parts do not belong together"
    assert not [line for line in lines if re.match(r"\s*(import|from) pytorch_lightning\b", line)]


def test_functions_are_short() -> None:
    found = {
        f"{_name(path)}: {node.name}"
        for path in PACKAGE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 50
        if "triton.jit" not in map(ast.unparse, node.decorator_list)  # a kernel cannot call its parts
    }
    assert not found, "split the function"


def test_no_module_lies_loose() -> None:
    loose = {path.name for path in (ROOT / "lightning_monocon").glob("*.py")}
    assert loose == {"__init__.py", "__main__.py", "distributed.py", "module.py"}, "give it a room"


def test_helpers_of_tests_do_not_lie_beside_tests() -> None:
    rooms = {"helpers", "legacy", "oracles", "processes", "reliability"}
    paths = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*.py")]
    beside = [str(path) for path in paths if path.parts[0] not in rooms]
    assert not [path for path in beside if not Path(path).name.startswith(("test_", "conftest.", "__init__."))]


@pytest.mark.parametrize("path", TEXT, ids=_name)
def test_no_path_of_somebodys_machine(path: Path) -> None:
    found = re.findall(r"(?:/(?:work|home|root|Users)/\w+|\.\./shared\b)", path.read_text(encoding="utf-8"))
    assert not found


def test_any_stays_rare() -> None:
    marked = [_name(path) for path in PACKAGE for line in path.read_text().splitlines() if "noqa: ANN401" in line]
    assert len(marked) <= 30, "say what an argument takes: `object`, a protocol, a type variable, `Unpack[...]`"


def test_a_choice_is_refused_in_one_place() -> None:
    found = {_name(path) for path in PACKAGE if "must be one of {" in path.read_text()}
    # `monocon` itself and the recipes answer without torch, which the others import
    without_torch = {"lightning_monocon/cli/__init__.py", "recipes/__init__.py"}
    assert found == {"lightning_monocon/functional/checks.py", *without_torch}
    listed = re.compile(r"raise ValueError\(\s*f?\"`\w+` must be '\w+' or '\w+'[;,]")
    assert not [_name(path) for path in PACKAGE if listed.search(path.read_text())]


def test_rows_and_labels_are_refused_in_one_place() -> None:
    wordings = re.compile(r"`\{?\w+\}?` must (?:be \(N, [CD]\)|hold \{[^}]*\} integers, one per)")
    found = {_name(path) for path in PACKAGE if wordings.search(path.read_text())}
    # a loss takes rows that it differentiates, and a training step names the encoder and the collate function
    assert found == {
        "lightning_monocon/functional/checks.py",
        "lightning_monocon/kernels/supcon/checks.py",
        "lightning_monocon/training/batches.py",
    }


@pytest.mark.parametrize("path", sorted((ROOT / "callbacks").glob("[!_]*.py")), ids=_name)
def test_each_callback_has_its_tests(path: Path) -> None:
    assert (ROOT / "tests" / "callbacks" / f"test_{path.name}").is_file()
