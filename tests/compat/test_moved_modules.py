# SPDX-License-Identifier: Apache-2.0
"""Import every module by the path that it had before the modules were moved into rooms."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest

import lightning_monocon
from lightning_monocon.compat import MOVED

OLD = (Path(__file__).parent / "modules_before.txt").read_text().split()
PACKAGE = Path(lightning_monocon.__file__).parent


def is_there(path: str) -> bool:
    """Whether a module is still a file under its old path."""
    place = PACKAGE.joinpath(*path.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@pytest.mark.parametrize("path", OLD)
def test_every_old_path_imports(path: str) -> None:
    name = f"lightning_monocon.{path}"
    if path in MOVED:
        sys.modules.pop(name, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = import_module(name)
    said = [str(each.message) for each in caught if each.category is DeprecationWarning and name in str(each.message)]
    if is_there(path):
        assert said == []
    else:
        home = f"lightning_monocon.{MOVED[path]}"
        assert said == [f"{name} has moved to {home}; the old path goes with the next release. Import the new one."]
        assert module is sys.modules[home]


def test_every_new_path_is_a_module_that_has_not_moved() -> None:
    assert all(is_there(path) and path not in MOVED for path in MOVED.values())


def test_the_warning_names_the_line_that_imports() -> None:
    code = "import warnings\nwarnings.simplefilter('always')\nimport lightning_monocon.embedding\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("<string>:3: DeprecationWarning: lightning_monocon.embedding has moved to ")


@pytest.mark.parametrize("name", ["RECORD", "RecordLogger", "RunFolder"])
def test_names_of_a_file_that_is_a_package_now(name: str) -> None:
    runs = import_module("lightning_monocon.runs")
    vars(runs).pop(name, None)
    with pytest.warns(DeprecationWarning, match=rf"lightning_monocon\.runs\.{name} has moved to"):
        getattr(runs, name)
    getattr(runs, name)  # once is enough


def test_a_name_that_never_was() -> None:
    with pytest.raises(ImportError, match="Folder"):
        from lightning_monocon.runs import Folder  # noqa: F401
