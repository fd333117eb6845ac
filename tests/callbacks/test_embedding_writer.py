# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from helpers.killed_writing import killed_while_writing, temporary
from helpers.plain_runs import Plain, clusters, loader, trainer

from lightning_monocon.callbacks import EmbeddingWriter
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.module import MonoCon
from lightning_monocon.scorecard import EmbeddingSet

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)

ONE_FILE = """
import torch
from lightning_monocon.scorecard.embeddings import EmbeddingSet
os.replace = stop
EmbeddingSet(torch.eye(8), torch.arange(8) % 2, torch.eye(8), torch.arange(8) % 2).save(sys.argv[1])
"""


def test_the_writer_keeps_rows_and_labels(tmp_path: Path) -> None:
    gallery, query = clusters(30, 0), clusters(17, 1)
    path = tmp_path / "rows.safetensors"
    trainer(EmbeddingWriter(str(path))).predict(Plain(), [loader(gallery), loader(query)], return_predictions=False)
    data = EmbeddingSet.load(path)
    torch.testing.assert_close((data.gallery, data.gallery_labels), gallery, rtol=0, atol=0)
    torch.testing.assert_close((data.query, data.query_labels), query, rtol=0, atol=0)


def test_the_writer_wants_gallery_and_query(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`predict_dataloader` must return two loaders, \[gallery, query\]"):
        trainer(EmbeddingWriter(str(tmp_path / "x"))).predict(Plain(), loader(clusters(20, 0)))


def test_what_a_kill_left_of_one_file_is_cleared(tmp_path: Path) -> None:
    out = tmp_path / "all.safetensors"
    killed_while_writing(ONE_FILE, out)
    assert temporary(tmp_path) == [".all.safetensors"]
    mine = tmp_path / f".all.safetensors.{os.getpid()}.tmp"  # a process that runs
    mine.write_text("x")
    (tmp_path / ".all.safetensors.old.tmp").write_text("no number of a process")
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    EmbeddingWriter(str(out)).setup(trainer, MonoCon(SmallCNN(1, (4, 8))), "predict")
    assert sorted(path.name for path in tmp_path.iterdir()) == [mine.name, ".all.safetensors.old.tmp"]
