# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lightning_monocon.scorecard import EmbeddingSet


def parts(**changes: object) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    whole = {
        "gallery": torch.randn(10, 4, generator=generator),
        "gallery_labels": torch.arange(10) % 3,
        "query": torch.randn(6, 4, generator=generator),
        "query_labels": torch.arange(6) % 3,
    }
    return {**whole, **changes}


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    data = EmbeddingSet(**parts(), arm="monotonic", seed=3, stage="best")
    again = EmbeddingSet.load(data.save(tmp_path / "deep" / "embeddings.safetensors"))
    assert (again.arm, again.seed, again.stage, again.dim) == ("monotonic", 3, "best", 4)
    for name in ("gallery", "gallery_labels", "query", "query_labels"):
        torch.testing.assert_close(getattr(again, name), getattr(data, name), rtol=0, atol=0)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["embeddings.safetensors"]


def test_views_and_gradients_are_saved_as_plain_rows(tmp_path: Path) -> None:
    wide = torch.randn(4, 10, generator=torch.Generator().manual_seed(1), requires_grad=True)
    data = EmbeddingSet(**parts(gallery=wide.T))
    again = EmbeddingSet.load(data.save(tmp_path / "x.safetensors"))
    torch.testing.assert_close(again.gallery, wide.detach().T.contiguous(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(dtype: torch.dtype) -> None:
    assert EmbeddingSet(**parts(gallery=parts()["gallery"].to(dtype))).gallery.dtype == torch.float32


def test_a_file_of_others_is_named_after_itself(tmp_path: Path) -> None:
    save_file(parts(), tmp_path / "theirs.safetensors")
    assert EmbeddingSet.load(tmp_path / "theirs.safetensors").arm == "theirs"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"gallery": torch.randn(10)}, r"`gallery` must be a non-empty \(rows, dimensions\) matrix; got shape \(10,\)"),
        (
            {"query": torch.empty(0, 4), "query_labels": torch.empty(0).long()},
            r"`query` must be a non-empty .* \(0, 4\)",
        ),
        ({"gallery": torch.full((10, 4), torch.nan)}, r"`gallery` must be finite; 10 of 10 rows hold NaN or infinity"),
        ({"query": torch.full((6, 4), torch.inf)}, r"`query` must be finite; 6 of 6 rows"),
        (
            {"gallery_labels": torch.arange(9)},
            r"`gallery_labels` must hold 10 integers, one per embedding; got shape \(9,\)",
        ),
        ({"query_labels": torch.arange(6)[:, None]}, r"`query_labels` must hold 6 integers, .* got shape \(6, 1\)"),
        ({"query": torch.randn(6, 3)}, r"`query` must have the gallery's 4 dimensions; got 3"),
        ({"gallery_labels": torch.ones(10).long()}, r"`gallery_labels` must hold at least 2 classes"),
        ({"query_labels": torch.full((6,), 7)}, r"`query_labels` must share a class with the gallery"),
        ({"sides": {"query": torch.ones(3, 4)}}, r"`sides` must have other names than gallery and .*; got 'query'"),
        ({"sides": {"gallery": torch.ones(3, 4)}}, r"`sides` must have other names .*; got 'gallery'"),
        ({"gallery": torch.randn(4, 4), "gallery_labels": torch.arange(4)}, r"`gallery` must have at least 5 rows"),
    ],
)
def test_values_that_do_not_fit_are_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        EmbeddingSet(**parts(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"gallery": torch.ones(10, 4).long()}, r"`gallery` must hold floating-point numbers; got torch.int64"),
        (
            {"gallery_labels": torch.ones(10)},
            r"`gallery_labels` must be integers; got torch.f",
        ),
        ({"query_labels": torch.ones(6).bool()}, r"`query_labels` must be integers; got torch.bool"),
        ({"query": [[1.0]]}, r"`query` must be a tensor or an array of numbers; got list"),
        ({"gallery_labels": np.array(["a"] * 10)}, r"`gallery_labels` must be a tensor or .*; got array of <U1"),
    ],
)
def test_wrong_kinds_are_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        EmbeddingSet(**parts(**changes))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` must name a file of embeddings; there is none at .*nowhere"):
        EmbeddingSet.load(tmp_path / "nowhere")


def test_a_file_without_labels_says_what_it_holds(tmp_path: Path) -> None:
    save_file({"gallery": torch.ones(2, 2), "extra": torch.ones(1)}, tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match=r"lacks gallery_labels, query, query_labels and holds extra, gallery"):
        EmbeddingSet.load(tmp_path / "half.safetensors")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = EmbeddingSet(**parts()).save(tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"`path` must be a whole .safetensors file; .*x.safetensors is not"):
        EmbeddingSet.load(path)


def test_a_later_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    save_file(parts(), path, metadata={"format": "lightning-monocon/embeddings/3"})
    with pytest.raises(ValueError, match=r"must have the layout 'lightning-monocon/embeddings/2'; .* has '.*/3'"):
        EmbeddingSet.load(path)


def test_parts_of_one_tensor_are_written(tmp_path: Path) -> None:
    rows, labels = torch.arange(24.0).reshape(12, 2), torch.arange(12) % 2
    data = EmbeddingSet.load(EmbeddingSet(rows, labels, rows[:4], labels[:4]).save(tmp_path / "a.safetensors"))
    torch.testing.assert_close(data.query, rows[:4], rtol=0, atol=0)
