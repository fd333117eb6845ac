# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Literal

import pytest
from jsonargparse import ArgumentParser, Namespace

from lightning_monocon.cli import main
from lightning_monocon.cli.nulls import check_nulls


@pytest.mark.parametrize(
    ("kind", "default", "sentence"),
    [
        (int, 3, "`x` must be int; got null. Leave the key out for the default, 3, or give a value."),
        (int | str, 3, "`x` must be int or str; got null."),
        (Literal["a", "b"], "a", "`x` must be one of 'a', 'b'; got null. Leave the key out for the default, 'a'"),
        (int | None, 3, None),
        (int, None, None),
    ],
)
def test_a_null_needs_a_type_or_a_default_that_is_null(kind: object, default: object, sentence: str | None) -> None:
    parser = ArgumentParser()
    parser.add_argument("--x", type=kind, default=default)
    if sentence is None:
        check_nulls(parser, Namespace(x=None))
        return
    with pytest.raises(ValueError) as refused:
        check_nulls(parser, Namespace(x=None))
    assert str(refused.value).startswith(sentence)


def test_a_section_that_is_null_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yaml").write_text("trainer: null")
    with pytest.raises(SystemExit):
        main(["fit", "--config", "digits", "--config", str(tmp_path / "r.yaml")])
    sentence = "`trainer` must be a mapping of arguments; got null. Leave the key out for the defaults."
    assert capsys.readouterr().err == f"monocon: error: {sentence}\n"
