# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from lightning_monocon.cli.config import TRACEBACK, recipe_file, refusing


def test_a_recipe_is_found_by_its_name_and_a_path_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.touch()
    assert recipe_file("digits").endswith("recipes/digits.yaml")
    assert recipe_file(str(mine)) == str(mine)
    assert recipe_file("nowhere.yaml") == "nowhere.yaml"  # whoever reads it says that it is missing


def test_a_url_needs_leave(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe_file("https://host/x.yaml", remote=True) == "https://host/x.yaml"
    with pytest.raises(SystemExit):
        recipe_file("https://host/x.yaml")
    assert "must be a recipe's name or a local file, got the URL" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "status"), [(ValueError("no\n  good"), 2), (RuntimeError("no good"), 1)])
def test_a_refusal_is_one_sentence_unless_its_traceback_is_wanted(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as stopped, refusing():
        raise error
    assert stopped.value.code == status
    assert capsys.readouterr().err == "monocon: error: no good\n"
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(type(error)), refusing():
        raise error
