# SPDX-License-Identifier: Apache-2.0
"""Heads as modules of sentence-transformers: saved, loaded, folded, and refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.patience import PATIENCE
from torch import Tensor

pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize

from lightning_monocon.sbert import MLPHead, MonotonicHead, load, stock

Make = Callable[[int], torch.Generator]
HEADS = {
    "monotonic": lambda: MonotonicHead(6, 10, 4, 2, parametrization="softplus", activation="elu", init="identity"),
    "directions": lambda: MonotonicHead(6, out_features=3, monotone=[1, 1, -1, 0, 1, -1]),
    "free": lambda: MLPHead(6, out_features=5, activation="tanh", init="squared"),
}


def run(model: Any, rows: Tensor) -> Tensor:
    found: Tensor = model({"sentence_embedding": rows.clone()})["sentence_embedding"]
    return found.detach()


@pytest.fixture(params=HEADS)
def model(request: pytest.FixtureRequest) -> Any:
    """A model without a transformer: what is tested is what comes after it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = [Dense(6, 6), HEADS[request.param](), Normalize()]
    return SentenceTransformer(modules=modules, device="cpu", prompts={"query": "find: "}, similarity_fn_name="dot")


def test_a_saved_head_computes_the_same(model: Any, tmp_path: Path, generator: Make) -> None:
    rows = torch.randn(9, 6, generator=generator(0))
    model.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    again = load(tmp_path / "model", device="cpu")
    assert run(again, rows).equal(run(model, rows))
    assert type(again[1]) is type(model[1])
    assert repr(again[1].head) == repr(model[1].head).replace("init='squared'", "init='default'")
    assert (again.prompts["query"], again.similarity_fn_name) == ("find: ", "dot")
    assert again.get_embedding_dimension() == model[1].head.out_features


def test_stock_modules_compute_the_same(model: Any, generator: Make) -> None:
    rows = torch.randn(9, 6, generator=generator(0))
    folded = stock(model)
    assert not any(isinstance(module, MonotonicHead | MLPHead) for module in folded.modules())
    torch.testing.assert_close(run(folded, rows), run(model, rows))
    assert (folded.prompts, folded.similarity_fn_name) == (model.prompts, "dot")


def test_the_width_that_a_model_cuts_to_stays(tmp_path: Path) -> None:
    model = SentenceTransformer(modules=[Dense(6, 6), MLPHead(6, out_features=5)], device="cpu", truncate_dim=3)
    folded = stock(model)
    assert (folded.truncate_dim, folded.get_embedding_dimension()) == (3, 3)
    for each in (model, folded):
        each.save_pretrained(str(tmp_path), create_model_card=False)
        assert load(tmp_path, device="cpu").truncate_dim == 3


def test_a_head_before_pooling_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"must hold 'sentence_embedding', .*; got token_embeddings: put the Monotonic"
    ):
        MonotonicHead(4)({"token_embeddings": torch.zeros(1, 2, 4)})


def test_a_file_of_another_head_is_refused(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(str(tmp_path), create_model_card=False)
    (config,) = tmp_path.glob("1_*/config.json")
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"out_features": 2}))
    with pytest.raises(RuntimeError, match="size mismatch"):
        load(tmp_path)
    config.write_text(json.dumps(content | {"spline": True}))
    with pytest.raises(ValueError, match=r"`config.json` must hold arguments of \w+Head; .* has spline"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "evil.Module"},
        {"type": "lightning_monocon.sbert.heads.evil.Module"},
        {"type": "sentence_transformers.util.import_from_string"},
        {"type": "sentence_transformers.base.modules.dense.logger"},
        {"path": "../elsewhere"},
    ],
    ids=str,
)
def test_a_folder_that_names_other_modules_is_not_opened(model: Any, change: dict[str, str], tmp_path: Path) -> None:
    model.save_pretrained(str(tmp_path), create_model_card=False)
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    listed = json.loads((tmp_path / "modules.json").read_text())
    listed[0].update(change)
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    (named,) = change.values()
    with pytest.raises(ValueError, match=rf"`path` must hold modules of sentence-transformers and .*{named}"):
        load(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` must be a folder with a modules\.json"):
        load(tmp_path)


def test_the_room_says_what_it_needs() -> None:
    code = "import sys; sys.modules['sentence_transformers'] = None; import lightning_monocon.sbert"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert "`sentence_transformers` must be installed: pip install 'lightning-monocon[text]'" in done.stderr
