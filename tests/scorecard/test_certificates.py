# SPDX-License-Identifier: Apache-2.0
"""What is proved of the arms: one file for each run, and a section and a figure of the scorecard."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, as_text, read_scorecard
from lightning_monocon.scorecard.certificates import Certificates, load_certificates, save_certificates
from lightning_monocon.scorecard.render.figures import draw
from lightning_monocon.scorecard.render.figures.certificates import certificates_figure
from lightning_monocon.scorecard.render.outline import outline
from lightning_monocon.scorecard.render.page import as_html
from lightning_monocon.scorecard.render.text import as_markdown
from lightning_monocon.scorecard.runs import EMBEDDINGS, score_runs, write

EPS = (0.01, 0.1)
FILE = "proofs.json"


def proofs(shift: float) -> Certificates:
    return Certificates(100, EPS, 0.5 + shift, (0.3 + shift, 0.1), (0.4 + shift, 0.2))


@pytest.fixture
def proved(card: Scorecard) -> Scorecard:
    """A card whose arms but the baseline have a head."""
    _, first, second, *_ = (arm.name for arm in card.arms)
    return replace(card, certificates={first: (proofs(0.1), proofs(0.2)), second: (proofs(0.3),)})


def test_a_file_holds_what_was_asked_even_without_a_head(tmp_path: Path) -> None:
    for found in (proofs(0.1), None):
        save_certificates(found, EPS, tmp_path / "a.json")
        assert load_certificates(tmp_path / "a.json") == found
        assert json.loads((tmp_path / "a.json").read_text())["eps"] == [0.01, 0.1]


def test_all_three_printed_forms_have_the_section_with_means_and_deviations_over_seeds(proved: Scorecard) -> None:
    first, second = proved.certificates or {}
    bare = [arm.name for arm in proved.arms if arm.name not in (first, second)]
    (section,) = (part for part in outline(proved).sections if part.title == "Answers that are proved")
    (table,) = section.tables
    assert table.header == ("arm", "right %", *(f"{p} at {e} %" for p in ("proved", "attacked") for e in EPS))
    assert table.rows[0] == (first, "65.0 ± 7.1", "45.0 ± 7.1", "10.0 ± 0.0", "55.0 ± 7.1", "20.0 ± 0.0")
    assert table.rows[1] == (second, "80.0", "60.0", "10.0", "70.0", "20.0") and len(table.rows) == 2
    assert "Of 100 queries" in section.intro and "up to 5 points" in section.intro
    assert [str(line) for line in section.sentences] == [
        f"Change of 0.01: {second} has most answers that are right and proved, 60.0 % ({first} 45.0 %), and "
        "70.0 % right under the attack.",
        f"Change of 0.1: {first} and {second} have most answers that are right and proved, 10.0 %, and 20.0 % and "
        "20.0 % right under the attack.",
        f"No certificate: {' and '.join(bare)} have no head, of which alone something is proved.",
    ]
    figure = certificates_figure(proved)
    assert figure is not None
    legend = (
        [text.get_text() for text in figure.legends[0].get_texts()]
        if figure.legends
        else [text.get_text() for axes in figure.axes if (found := axes.get_legend()) for text in found.get_texts()]
    )
    assert legend == [
        a.name if a.name in (first, second) else f"{a.name}: no head, no certificate" for a in proved.arms
    ]
    figures = draw(proved, None)
    page, markdown = as_html(proved, figures), as_markdown(proved, figures)
    for form in (as_text(proved), markdown, page.replace("\N{NO-BREAK SPACE}", " ")):
        assert "Answers that are proved" in form and "65.0 ± 7.1" in form
    assert "![Share of the queries whose 5-NN label is right and provably stays" in markdown
    assert page.count("<figcaption>") == len(figures) and "](certificates.png)" in markdown


def test_a_card_says_nothing_of_proofs_unless_asked_and_so_if_no_arm_has_a_head(card: Scorecard) -> None:
    assert "Answers that are proved" not in as_text(card) and certificates_figure(card) is None
    bare = replace(card, certificates={})
    (section,) = (part for part in outline(bare).sections if part.title == "Answers that are proved")
    assert str(section.sentences[0]) == "No arm has a head of which anything can be proved." and not section.tables
    assert certificates_figure(bare) is None
    nothing = replace(card, certificates={"twin": (Certificates(9, (1.0,), 0.5, (0.0,), (0.1,)),)})
    assert "Change of 1: nothing is proved of any arm." in as_text(nothing)


def test_runs_are_read_and_written_with_a_page_of_their_own(
    sets: dict[str, list[EmbeddingSet]], tmp_path: Path
) -> None:
    names = list(sets)[:2]
    for name in names:
        for data in sets[name]:
            folder = tmp_path / "runs" / f"{name}-seed{data.seed}"
            folder.mkdir(parents=True)
            data.save(folder / EMBEDDINGS["last"])
            save_certificates(None if name == names[0] else proofs(data.seed / 10), EPS, folder / FILE)
    card, drawn = score_runs(tmp_path, names, names[0], certificates=FILE)
    assert card.certificates == {names[1]: tuple(proofs(seed / 10) for seed in range(len(sets[names[1]])))}
    write(tmp_path, card, drawn)
    stored = read_scorecard(tmp_path / "scorecard.json")["certificates"]
    assert stored == json.loads((tmp_path / "certificates.json").read_text()) and list(stored) == [names[1]]
    assert stored[names[1]][1] == {
        "queries": 100,
        "eps": [0.01, 0.1],
        "right": 0.6,
        "proved": [0.4, 0.1],
        "attacked": [0.5, 0.2],
    }
    said = (tmp_path / "certificates.md").read_text()
    assert (
        said.startswith("# Answers that are proved\n") and "](certificates.png)" in said and f"| {names[1]} |" in said
    )
    assert (tmp_path / "certificates.png").is_file()

    card, _ = score_runs(tmp_path, names, names[0])
    assert card.certificates is None


def test_an_early_card_has_no_proofs(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"schema": "lightning-monocon/scorecard/4"}')
    assert read_scorecard(tmp_path / "s.json")["certificates"] is None


def test_lines_are_shares_in_percent_and_keep_the_look_of_their_arm(proved: Scorecard) -> None:
    figure = certificates_figure(proved)
    assert figure is not None
    left, right = ([line for line in axes.lines if len(line.get_xdata())] for axes in figure.axes)
    assert [round(y, 6) for y in left[0].get_ydata()] == [45.0, 10.0]
    assert [round(y, 6) for y in right[0].get_ydata()] == [55.0, 20.0]
    assert left[0].get_color() == "#D55E00"  # of the second arm
