# SPDX-License-Identifier: Apache-2.0
"""Where a scorecard comes from: what its heading says, and that it says nothing that is not known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import pytest

from lightning_monocon.scorecard import EmbeddingSet, as_json, build, report
from lightning_monocon.scorecard.origin import CONFIG, Origin, command_line, origin_of
from lightning_monocon.scorecard.render.page import as_html
from lightning_monocon.scorecard.render.sentences import bottom_line, title
from lightning_monocon.scorecard.render.text import as_markdown
from lightning_monocon.scorecard.runs import write

Planted = Callable[..., EmbeddingSet]

CONFIGURATION = """\
model:
  encoder: {class_path: lightning_monocon.encoders.SmallCNN, init_args: {in_channels: 1, widths: [16, 32], pools: null}}
  head: mlp
data: {class_path: lightning_monocon.data.DigitsData, init_args: {batch_size: 256}}
"""


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764331200")
    return "2025-11-28 12:00 UTC"


def test_data_and_encoder_come_from_the_runs_and_the_rest_from_the_command(tmp_path: Path, noon: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text(CONFIGURATION)
    words = ["monocon", "compare", "--config", "digits", "--config=my/own.yaml", "--out", "a folder"]
    assert origin_of([tmp_path / "a", tmp_path / "b"], words) == Origin(
        data="DigitsData(batch_size=256)",
        recipe="digits; own",
        encoder="SmallCNN(in_channels=1, widths=[16, 32])",
        version=version("lightning-monocon"),
        date=noon,
        command="monocon compare --config digits --config=my/own.yaml --out 'a folder'",
    )


@pytest.mark.parametrize("content", [None, b"a: [", b"\xff\xfe\xff", b"- 1\n", b"model: 3\ndata: null\n", b""])
def test_a_configuration_that_cannot_be_read_leaves_its_lines_out(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / CONFIG).write_bytes(content)
    found = origin_of([tmp_path], [])
    assert [name for name, _ in found.lines()] == ["Made"]


def test_runs_that_differ_are_all_named_and_endless_arguments_are_cut(tmp_path: Path) -> None:
    for name, encoder in (("a", "one"), ("b", f"{{class_path: x.Two, init_args: {{w: {list(range(200))}}}}}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text(f"model: {{encoder: {encoder}}}")
    said = origin_of([tmp_path / "a", tmp_path / "b"], []).encoder
    assert said.startswith("one; Two(w=[0, 1, 2") and said.endswith(" ...") and len(said) < 260


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/opt/bin/monocon", "score", "a.npz"], ["monocon", "score", "a.npz"]),
        (["/x/lightning_monocon/__main__.py", "fit"], ["monocon", "fit"]),
        (["/x/pytest/__main__.py", "-q"], []),
        (["train.py", "--epochs", "3"], []),
        ([""], []),
        ([], []),
    ],
)
def test_only_our_own_command_is_quoted(argv: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", argv)
    assert command_line() == words


def test_page_and_markdown_begin_with_title_bottom_line_and_origin(
    planted: Planted, tmp_path: Path, noon: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("encoder", "head"):
        folder = tmp_path / "runs" / f"{name}-seed0"
        planted(arm=name, draw=len(name), rows=(120, 60)).save(folder / "embeddings.safetensors")
        (folder / CONFIG).write_text(CONFIGURATION)
    monkeypatch.setattr("sys.argv", ["monocon", "compare", "--config", "digits", "--out", "<b>"])
    card = report(tmp_path, ("encoder", "head"))
    assert title(card) == "Scorecard: digits"
    page, text = ((tmp_path / name).read_text(encoding="utf-8") for name in ("scorecard.html", "scorecard.md"))
    first = page[page.index("<h1>") : page.index("<table>")]
    assert "<title>Scorecard: digits</title>" in page and first.startswith("<h1>Scorecard: digits</h1>")
    assert not re.search(r"\d %", first), "a line may end before a per cent sign"
    for value in ("DigitsData(batch_size=256)", noon, "--out &#39;&lt;b&gt;&#39;"):
        assert value in first
    assert text.startswith(f"# Scorecard: digits\n\n**Bottom line**: {bottom_line(card).text}\n\n")
    assert re.search(r"^- Command: `monocon compare --config digits --out '<b>'`$", text, re.MULTILINE)
    assert json.loads((tmp_path / "scorecard.json").read_text())["origin"] == asdict(card.origin)


def test_the_same_runs_give_the_same_files_at_the_same_time(planted: Planted, tmp_path: Path, noon: str) -> None:
    sets = {name: [planted(arm=name, draw=len(name), rows=(120, 60))] for name in ("encoder", "head")}
    for name in ("one", "two"):
        write(tmp_path / name, build(sets, with_nulls=False), {})
    for name in ("scorecard.json", "scorecard.html", "scorecard.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert noon in (tmp_path / "one" / "scorecard.md").read_text()


def test_a_card_that_was_not_written_has_no_origin_and_names_its_arms(planted: Planted) -> None:
    card = build({"encoder": [planted()], "head": [planted(arm="head", draw=1)]}, with_nulls=False)
    assert as_json(card)["origin"] is None
    assert as_markdown(card).startswith("# Scorecard: encoder, head\n\n**Bottom line**: ")
    assert 'class="origin"' not in as_html(card, {}).partition("<body>")[2]
    assert title(replace(card, arms=card.arms * 3)) == "Scorecard: 6 arms"
