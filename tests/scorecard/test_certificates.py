# SPDX-License-Identifier: Apache-2.0
"""What is proved of the arms, in a table, a file and a figure."""

import json
from pathlib import Path

from lightning_monocon.scorecard.certificates import Certificates, load_certificates, save_certificates, write
from lightning_monocon.scorecard.render.figures.certificates import certificates_figure

EPS = (0.01, 0.1)


def proofs(shift: float) -> Certificates:
    return Certificates(100, EPS, 0.5 + shift, (0.3 + shift, 0.1), (0.4 + shift, 0.2))


def test_a_file_holds_what_was_asked_even_without_a_head(tmp_path: Path) -> None:
    for found in (proofs(0.1), None):
        save_certificates(found, EPS, tmp_path / "a.json")
        assert load_certificates(tmp_path / "a.json") == found
        assert json.loads((tmp_path / "a.json").read_text())["eps"] == [0.01, 0.1]


def test_means_over_seeds_stand_in_the_table_of_arms_with_a_head(tmp_path: Path) -> None:
    for name, found in {"encoder": [None, None], "mlp": [proofs(0.1), proofs(0.2)]}.items():
        for seed, each in enumerate(found):
            save_certificates(each, EPS, tmp_path / f"{name}-{seed}.json")
    text = write(tmp_path, ["encoder", "mlp"], lambda name: [tmp_path / f"{name}-{seed}.json" for seed in (0, 1)])
    assert "| arm | right % | proved, 0.01 | proved, 0.1 | attacked, 0.01 | attacked, 0.1 |" in text
    assert "| mlp | 65.0 | 45.0 | 10.0 | 55.0 | 20.0 |" in text and "| encoder" not in text
    assert (tmp_path / "certificates.png").is_file()
    assert list(json.loads((tmp_path / "certificates.json").read_text())) == ["mlp"]
    bare = write(tmp_path, ["encoder"], lambda name: [tmp_path / f"{name}-0.json"])
    assert bare == "No arm has a head of which anything can be proved."


def test_lines_are_shares_in_percent_and_keep_the_look_of_their_arm() -> None:
    figure = certificates_figure({"mlp": [proofs(0.1), proofs(0.2)]}, ["encoder", "mlp"])
    left, right = figure.axes
    assert [round(y, 6) for y in left.lines[0].get_ydata()] == [45.0, 10.0]
    assert [round(y, 6) for y in right.lines[0].get_ydata()] == [55.0, 20.0]
    assert left.lines[0].get_color() == "#D55E00"
