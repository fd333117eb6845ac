# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from lightning_monocon import recipes
from lightning_monocon.cli import main


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["recipes"], ["recipes", "digits"]])
def test_what_needs_neither_torch_nor_lightning(words: list[str]) -> None:
    code = f"import sys\nfrom lightning_monocon.cli import main\nmain({words!r})\nassert 'torch' not in sys.modules"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    expected = {"--help": "usage: monocon COMMAND", "--version": f"monocon {version('lightning-monocon')}"}
    assert told.stdout.startswith(expected.get(words[0], recipes.path("digits").read_text() if words[1:] else "cached"))
    assert words[0] != "--help" or max(map(len, told.stdout.splitlines())) <= 80
    assert words[0] != "--help" or "with dashes or with underscores: --run-dir or --run_dir." in told.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["fitt"],
            "`COMMAND` must be one of fit, validate, test, predict, compare, score, shrink, load, export, upgrade, "
            "landscape, tune, recipes; got 'fitt'; did you mean 'fit'?",
        ),
        (["recipes", "digitz"], "got 'digitz'; did you mean 'digits'?"),
        (["recipes", "a", "b"], "`monocon recipes` takes at most one name; got 'a b'"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("monocon: error: ") and sentence in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("words", [["--help"], ["recipes"], ["recipes", "digits"], ["score", "--help"]], ids=" ".join)
def test_a_reader_that_has_gone_is_no_error(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "lightning_monocon", *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
