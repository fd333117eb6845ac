# SPDX-License-Identifier: Apache-2.0
"""An export says what is lost against the encoder, and refuses a model whose vectors are not worth shipping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from lightning_monocon import MonoCon
from lightning_monocon.export import DoubtfulExportWarning, Export, export_model
from lightning_monocon.export.lines import Loss

Batches = Sequence[tuple[Tensor, Tensor]]


class Pixels(nn.Module):
    """An encoder that finds 98 % of the digits without any training."""

    out_features = 64

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def headed(width: int) -> MonoCon:
    """The pixels under a head that keeps ``width`` random directions of them; for 0, their brightness and no more."""
    head = nn.Linear(64, width or 2)
    with torch.no_grad():
        head.weight.copy_(torch.randn(width or 2, 64, generator=torch.Generator().manual_seed(0)))
        head.bias.zero_()
        if width == 0:
            head.weight[0], head.weight[1], head.bias[1] = 1 / 64, 0, 1
    return MonoCon(Pixels(), head).eval()


def exported(model: MonoCon, digits: LightningDataModule, out: Path, even_so: bool = False) -> Export:
    gallery, query = digits.test_dataloader()
    return export_model(model, gallery, query, out, dim=1, forms=[], even_so=even_so)


def test_a_model_that_lost_the_classes_is_refused(digits: LightningDataModule, tmp_path: Path) -> None:
    sentence = r"`model` must make vectors .* The head's output is collapsed \(.*`--even-so`"
    with pytest.raises(ValueError, match=sentence):
        exported(headed(0), digits, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_less_accurate_model_is_warned_of(digits: LightningDataModule, tmp_path: Path) -> None:
    gallery, query = digits.test_dataloader()
    warned = r"^The head's output is compact, but less .* for the encoder alone"
    with pytest.warns(DoubtfulExportWarning, match=warned) as caught:
        written = export_model(headed(8), gallery, query, tmp_path / "out", dim=8, forms=[])
    assert [each.filename for each in caught] == [__file__], "the line that calls"
    assert f"**Warning.** {written.doubts[0]}" in (tmp_path / "out" / "README.md").read_text()


def test_even_so_it_warns_and_the_card_says_it_first(digits: LightningDataModule, tmp_path: Path) -> None:
    with pytest.warns(DoubtfulExportWarning, match=r"is collapsed .* for the encoder alone"):
        written = exported(headed(0), digits, tmp_path / "out", even_so=True)
    lines = {line.name: line for line in written.lines}
    before, after = lines["encoder"], lines["exported"]
    text = (tmp_path / "out" / "README.md").read_text()
    for doubt in written.doubts:
        assert f"\n\n**Warning.** {doubt}\n\n" in text
    assert text.index("**Warning.**") < text.index("## What was measured")
    assert f"5-NN accuracy is {100 * after.knn_accuracy:.1f} % and was {100 * before.knn_accuracy:.1f} %" in text
    first = written.losses[0]
    assert (first.before, first.after) == ("encoder", "exported")
    assert first.points == pytest.approx(100 * (before.knn_accuracy - after.knn_accuracy))
    assert first.points > 50
    assert f"- exported instead of encoder loses {first.points:.2f} points of 5-NN accuracy" in text


def test_a_model_that_keeps_the_classes_has_no_doubts(digits: LightningDataModule, tmp_path: Path) -> None:
    gallery, query = digits.test_dataloader()
    written = export_model(MonoCon(Pixels(), "none"), gallery, query, tmp_path / "out", dim=20, forms=[])
    assert written.doubts == ()
    assert "**Warning.**" not in (tmp_path / "out" / "README.md").read_text()


def test_a_cut_that_loses_half_is_refused_whatever_the_head(digits: LightningDataModule, tmp_path: Path) -> None:
    gallery, query = digits.test_dataloader()
    with pytest.raises(ValueError, match=r"The exported vectors keep less than half of what the encoder finds: 5-NN"):
        export_model(MonoCon(Pixels(), "none"), gallery, query, tmp_path / "out", dim=1, forms=[])


@pytest.mark.parametrize(("width", "words"), [(2, r"is collapsed \("), (7, r"is less accurate \(")])
def test_pairs_are_judged_by_what_they_find(width: int, words: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.rand(600, 64, generator=generator)
    other = rows + 0.15 * torch.randn(600, 64, generator=generator)
    labels = torch.arange(600)  # each row has its one partner: there are no classes to vote
    gallery, query = [(rows, labels)], [(other, labels)]
    refused = pytest.raises(ValueError, match=rf"The head's output {words}.*Recall@10 is \d")
    warned = pytest.warns(DoubtfulExportWarning, match=rf"The head's output {words}.*Recall@10 is \d")
    with refused if "collapsed" in words else warned:
        export_model(headed(width), gallery, query, tmp_path / "out", dim=width, forms=[])


def test_a_gain_is_called_a_gain() -> None:
    sentence = Loss("encoder", "exported", "Recall@10", -18.67, -20.0, -17.0).sentence()
    assert sentence == (
        "exported instead of encoder gains 18.67 points of Recall@10 (95 % over queries: 17.00 to 20.00)."
    )


def test_what_an_export_prints_is_one_line(digits: LightningDataModule, tmp_path: Path) -> None:
    gallery, query = digits.test_dataloader()
    written = export_model(MonoCon(Pixels(), "none"), gallery, query, tmp_path / "out", dim=8, forms=[])
    assert repr(written) == f"Export({str(tmp_path / 'out')!r}, space={written.stamp.space!r}, 32 bytes a vector)"
    for part in (*written.lines, *written.losses):
        assert "tensor" not in repr(part)
