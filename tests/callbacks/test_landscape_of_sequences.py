# SPDX-License-Identifier: Apache-2.0
"""The landscape callback on sequence models: ours, a foreign one, and causal and masked models of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from helpers.scripts import run_ranks
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.watching.files import read_tracker

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches",
    "ignore:.*does not have many workers",
    "ignore:You defined a `validation_step`",
    "ignore:.*LeafSpec.*:FutureWarning",
)
VOCABULARY, LENGTH, MASK = 12, 8, 11


class Foreign(L.LightningModule):
    """A recurrent model that predicts tokens, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.cell = nn.Embedding(VOCABULARY, 16), nn.GRU(16, 16, batch_first=True)
        self.drop, self.out = nn.Dropout(0.2), nn.Linear(16, VOCABULARY)
        self.seen: list[float] = []

    def forward(self, tokens: Tensor) -> Any:
        return self.out(self.drop(self.cell(self.tokens(tokens))[0]))

    def loss(self, batch: Any) -> Tensor:
        tokens, labels = batch
        return nn.functional.cross_entropy(self(tokens).flatten(0, 1).float(), labels.flatten())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.seen.append(loss.item())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return torch.optim.Adam(self.parameters(), 1e-2)


class Hugging(Foreign):
    """A language model of transformers, called in the step alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> Any:
        return self.model(**inputs)

    def loss(self, batch: Any) -> Tensor:
        loss: Tensor = self.model(**batch).loss
        return loss


def _sequences(count: int, seed: int) -> Tensor:
    """Tokens that count up by a step of their own, so that the third can be known."""
    generator = torch.Generator().manual_seed(seed)
    start, step = torch.randint(10, (2, count, 1), generator=generator)
    return (start + step * torch.arange(LENGTH + 1)) % 10


def _pairs(count: int, seed: int) -> DataLoader[Any]:
    tokens = _sequences(count, seed)
    return DataLoader(list(zip(tokens[:, :-1], tokens[:, 1:], strict=True)), batch_size=16)  # type: ignore[arg-type]


def _mappings(count: int, seed: int, *, masked: bool) -> DataLoader[Any]:
    tokens = _sequences(count, seed)
    items = []
    for row in tokens:
        item = {"input_ids": row.clone(), "attention_mask": torch.ones_like(row), "labels": row.clone()}
        if masked:
            item["input_ids"][4] = MASK
            item["labels"] = torch.where(item["input_ids"] == MASK, row, -100)
        items.append(item)
    return DataLoader(items, batch_size=16)  # type: ignore[arg-type]


def _fit(folder: Path, model: Foreign, train: Any, val: Any, *callbacks: L.Callback, **options: Any) -> Foreign:
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"max_epochs": 2, **options},
    )
    trainer.fit(model, train, val)
    return model


def _watch(**options: Any) -> SemanticLandscape:
    shared = {"probe": 64, "signature": "logits", "schedule": 1, "budget": None, "on_error": "raise"}
    return SemanticLandscape(**{**shared, **options})


def test_a_sequence_model_is_watched(tmp_path: Path) -> None:
    watch = _watch(strata="position", roles={"train": ["train/early", "train/late"], "held_out": "val/late"})
    _fit(tmp_path, Foreign(), _pairs(64, 0), _pairs(64, 1), watch)
    tracker, _ = read_tracker(tmp_path)
    assert tracker.strata.names == ("train/early", "train/late", "val/early", "val/late")
    assert tracker.roles == (("train/early", "train/late"), ("val/late",), ())
    assert (tracker.measure, tracker.chance) == ("token logits", 1 / VOCABULARY)
    assert tracker.trajectory.steps == list(range(9))
    assert tracker.trajectory.role("held_out")[0] == pytest.approx(1 / VOCABULARY, abs=0.03)


def test_the_geometry_is_that_of_the_states_at_the_pairs(tmp_path: Path) -> None:
    watch = _watch(geometry_layer="drop", geometry_every=4)
    module = _fit(tmp_path, Foreign(), _pairs(64, 0), _pairs(64, 1), watch).eval()
    assert watch.tracker is not None
    assert watch._probe is not None
    assert watch._probe.places is not None
    with torch.inference_mode():
        rows = [
            module.cell(module.tokens(inputs))[0][places.rows, places.positions].double().numpy()
            for inputs, places in zip(watch._probe.batches, watch._probe.places, strict=True)
        ]
    whole = np.concatenate(rows)
    values = np.linalg.svd(whole - whole.mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    columns = watch.tracker.trajectory.columns()
    assert columns["effective_rank"][-1] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
    assert np.flatnonzero(np.isfinite(columns["alpha_req"])).tolist() == [0, 4, 8]
    assert columns["n99"][-1] == 1 + (np.cumsum(values**2) / (values**2).sum() < 0.99).sum()
    assert (tmp_path / "landscape" / "dynamics.png").read_bytes().startswith(b"\x89PNG")


def test_a_sequence_without_such_a_layer_has_no_geometry(tmp_path: Path) -> None:
    _fit(tmp_path, Foreign(), _pairs(64, 0), _pairs(64, 1), _watch())
    tracker, _ = read_tracker(tmp_path)
    assert np.isnan(tracker.trajectory.column("effective_rank")).all()
    assert not (tmp_path / "landscape" / "dynamics.png").exists()


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("cell", r"The submodule 'cell' must return states \(B, T, D\) for labels \("),
        ("none", "`geometry_layer` must name a submodule of Foreign, such as tokens, cell, drop, out; got 'none'"),
        ("unused", "`geometry_layer` must name a submodule that runs once for each batch; 'unused' ran 0 times"),
    ],
)
def test_a_layer_without_states_is_refused(tmp_path: Path, layer: str, sentence: str) -> None:
    module = Foreign()
    if layer == "unused":
        module.unused = nn.Identity()
    with pytest.raises(ValueError, match=sentence):
        _fit(tmp_path, module, _pairs(64, 0), _pairs(64, 1), _watch(geometry_layer=layer))


def _seeded(model: type[Foreign]) -> Foreign:
    torch.manual_seed(1)
    return model()


@pytest.mark.parametrize("options", [{}, {"precision": "bf16-mixed"}, {"precision": "bf16-true"}], ids=str)
def test_training_is_the_same_bit_by_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    watch = _watch()
    alone = _fit(tmp_path, _seeded(Foreign), _pairs(64, 0), _pairs(64, 1), **options)
    seen = _fit(tmp_path, _seeded(Foreign), _pairs(64, 0), _pairs(64, 1), watch, **options)
    assert seen.seen == alone.seen
    assert all(torch.equal(a, b) for a, b in zip(seen.state_dict().values(), alone.state_dict().values(), strict=True))
    assert watch.tracker is not None
    assert len(watch.tracker.trajectory) == 9


def test_training_a_compiled_module_is_the_same_bit_by_bit(tmp_path: Path) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    counts, seen = [], []
    for callbacks in ([], [_watch(probe=40)]):
        torch.compiler.reset()
        graphs.clear()
        module = _seeded(Foreign)
        module.out = torch.compile(module.out, backend=backend)  # type: ignore[assignment]
        seen.append(_fit(tmp_path, module, _pairs(64, 0), _pairs(64, 1), *callbacks, num_sanity_val_steps=0).seen)
        counts.append(len(graphs))
    assert seen[0] == seen[1]
    assert counts[0] == counts[1]  # the shapes of the probe have made no code


class Stream(IterableDataset[Any]):
    """Sequences without an end."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __iter__(self) -> Iterator[Any]:
        while True:
            tokens = _sequences(1, int(torch.randint(1000, (), generator=self.generator)))[0]
            yield tokens[:-1], tokens[1:]


def test_a_stream_is_watched_and_left_alone(tmp_path: Path) -> None:
    def run(*callbacks: L.Callback) -> list[float]:
        train, val = (DataLoader(Stream(), batch_size=8) for _ in range(2))
        options = {"max_steps": 6, "limit_val_batches": 1}
        return _fit(tmp_path, _seeded(Foreign), train, val, *callbacks, **options).seen

    assert run(_watch()) == run()
    tracker, settings = read_tracker(tmp_path)
    assert len(tracker.trajectory) == 7
    assert (settings["train_size"], settings["batch_size"]) == (48, 8)  # what the run sees of it


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_language_models_of_transformers(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    size = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "causal":
        config = transformers.GPT2Config(**size, n_positions=16, bos_token_id=0, eos_token_id=0)
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.BertConfig(**size, intermediate_size=16, max_position_embeddings=16)
        model = transformers.BertForMaskedLM(config)
    watch = _watch(probe=32, strata="repetition" if kind == "causal" else None)
    loaders = [_mappings(48, seed, masked=kind == "masked") for seed in (0, 1)]
    module = _fit(tmp_path, Hugging(model), *loaders, watch)
    assert watch.tracker is not None
    assert len(watch.tracker.trajectory) == 7
    # the mean credence of the probe is the exponential of the model's own loss, token by token
    probe = watch._probe
    assert probe is not None and probe.places is not None
    batch, (rows, positions, _) = probe.batches[0], probe.places[0]
    labels = torch.full_like(batch["input_ids"], -100)
    labels[rows[0], positions[0] + (kind == "causal")] = probe.labels[0]
    with torch.inference_mode():
        loss = module.model.eval()(**{**batch, "labels": labels}).loss
    last = watch.tracker.recent.profiles[-1][0]
    assert float(torch.exp(-loss)) == pytest.approx(float(last), rel=1e-3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"signature": "soft_knn"},
            r"`signature` must be 'logits' and `groups` False for labels \(B, T\), .*; got 'soft_knn' and False",
        ),
        ({"groups": True}, "got 'logits' and True. Split sequences by `strata`"),
        ({"roles": {"train": "seen"}}, "`roles` must name strata of the probe: train, val; got 'seen'"),
        ({"strata": "domain"}, "`strata` must be repetition, frequency, position, or an entry of the batch"),
        ({"chance": 2.0}, "`chance` must lie between 0 and 1, got 2.0"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _fit(tmp_path, Foreign(), _pairs(64, 0), _pairs(64, 1), _watch(**options))
    assert not (tmp_path / "landscape").exists()


@pytest.mark.slow
def test_under_two_ranks_the_first_alone_probes_and_training_is_the_same(tmp_path: Path) -> None:
    run_ranks(Path(__file__).parents[1] / "processes" / "ddp_sequences.py", tmp_path)
    assert [(tmp_path / f"rank{rank}").read_text() for rank in range(2)] == ["7 True", "0 True"]
