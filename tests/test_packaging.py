# SPDX-License-Identifier: Apache-2.0
"""The package list, the links, and the three ways to install give the same names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from helpers.patience import PATIENCE

import lightning_monocon
from lightning_monocon import recipes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SOURCES = ("pyproject.toml", "LICENSE", "README.md", "lightning_monocon", "callbacks", "recipes")

# Module names under the folders of the package, without importing any of them.
WALK = """
import json, os, pkgutil, lightning_monocon
def walk(name, folder):
    for entry in pkgutil.iter_modules([folder]):
        yield f"{name}.{entry.name}"
        if entry.ispkg:
            yield from walk(f"{name}.{entry.name}", os.path.join(folder, entry.name))
home = os.path.dirname(lightning_monocon.__file__)
print(json.dumps([home, sorted(walk("lightning_monocon", home))]))
"""
IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(sorted({"callbacks", "recipes"} & set(sys.modules)))
"""


def _run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _names(python: str | Path, cwd: Path) -> tuple[str, list[str]]:
    home, names = json.loads(_run(python, "-c", WALK, cwd=cwd))
    return home, names


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A wheel from the tree, an sdist, and a wheel from that sdist; built from a copy, so that the tree stays clean."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / name, tree / name)
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    _run(*build, tree / "direct", "--wheel", cwd=tree)
    _run(*build, tree / "through", cwd=tree)
    (wheel,), (sdist,), (again,) = (
        sorted((tree / folder).glob(pattern))
        for folder, pattern in (("direct", "*.whl"), ("through", "*.tar.gz"), ("through", "*.whl"))
    )
    return wheel, sdist, again


def _install(wheel: Path, folder: Path) -> Path:
    """Install a wheel in a clean environment that borrows the dependencies of this one; return its `bin`."""
    venv.create(folder, with_pip=False, symlinks=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", scripts / "python")
    _run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    (site,) = folder.glob("**/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed))  # plain paths: their own .pth files are not read
    return scripts


def test_list_of_packages_matches_the_tree(root: Path) -> None:
    setuptools = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    mapping = {folder: name for name, folder in setuptools["package-dir"].items()}
    found = set()
    for top in ("lightning_monocon", *mapping):
        for init in (root / top).rglob("__init__.py"):  # rglob does not follow the links
            head, *rest = init.parent.relative_to(root).parts
            found.add(".".join([mapping.get(head, head), *rest]))
    assert sorted(found) == sorted(setuptools["packages"])


@pytest.mark.parametrize("name", ["callbacks", "recipes"])
def test_links_lead_to_the_top_level_folders(root: Path, name: str) -> None:
    link = root / "lightning_monocon" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert link.resolve() == root / name


def test_no_module_has_a_second_name() -> None:
    import lightning_monocon.callbacks
    import lightning_monocon.recipes  # noqa: F401

    assert not {"callbacks", "recipes"} & set(sys.modules)


def test_wheel_holds_one_top_level_package(root: Path, built: tuple[Path, Path, Path]) -> None:
    templates = {str(path.relative_to(root)) for path in (root / "lightning_monocon" / "scorecard").rglob("*.jinja")}
    for wheel in (built[0], built[2]):
        files = zipfile.ZipFile(wheel).namelist()
        assert {name.split("/")[0] for name in files} == {
            "lightning_monocon",
            f"lightning_monocon-{lightning_monocon.__version__}.dist-info",
        }
        assert "lightning_monocon/py.typed" in files
        assert {f"lightning_monocon/recipes/{name}.yaml" for name in recipes.names()} <= set(files)
        assert templates and templates <= set(files)
        assert any(name.endswith("dist-info/licenses/LICENSE") for name in files)


def test_all_installs_give_the_same_names(built: tuple[Path, Path, Path], tmp_path: Path) -> None:
    wheel, _, again = built
    _, editable = _names(sys.executable, tmp_path)
    for number, each in enumerate((wheel, again)):
        folder = tmp_path / str(number)
        scripts = _install(each, folder)
        home, names = _names(scripts / "python", tmp_path)
        assert Path(home).is_relative_to(folder)
        assert names == editable
        listed = _run(scripts / "monocon", "recipes", cwd=tmp_path)
        assert [line.split()[0] for line in listed.splitlines()] == recipes.names()
    modules = [name for name in names if not name.endswith("__main__")]
    assert _run(scripts / "python", "-c", IMPORT_ALL, *modules, cwd=tmp_path).splitlines()[-1] == "[]"
