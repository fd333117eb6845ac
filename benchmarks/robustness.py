# SPDX-License-Identifier: Apache-2.0
"""Ask heads on frozen features with corrupted images: does a smaller FVU or RMSE mean more robust answers?

Run    python benchmarks/robustness.py --data DATA --scratch FOLDER
EfficientNet-Lite0 as it comes from ImageNet; the arms and the training of paper.py's frozen images for 20 epochs. 1 000
test images of CIFAR-100 are corrupted as `monocon compare --robustness` does it. A finished run is a line of
results/robustness.jsonl and is not made again. Writes results/DATE-robustness.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from harness import RESULTS
from paper import PLAN
from paper_settings import ARMS, image_run
from torch import Tensor, nn
from training_runs import write_text

from lightning_monocon import MonoCon
from lightning_monocon.data import CIFAR100Data
from lightning_monocon.data.corrupted import SEVERITIES
from lightning_monocon.encoders import EfficientNetLite0
from lightning_monocon.encoders.image.efficientnet_lite_weights import PACKAGED
from lightning_monocon.functional.knn_accuracy import knn_accuracy
from lightning_monocon.learnt import EmbeddingData
from lightning_monocon.scorecard.card import Arm
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.robustness import Robustness, as_parts, relations
from lightning_monocon.scorecard.scores import measure

BATCH, QUERIES, PIXELS = 250, 1_000, 64
RUNS = RESULTS / "robustness.jsonl"
SETTING = PLAN[0]

Asked = dict[str, Tensor]
"""Features ``(1000, 1280)`` by corruption and severity, the clean ones, and their labels."""


def asked(data: Path, scratch: Path) -> Asked:
    """Return the features of clean and of corrupted test images, embedded once."""
    kept = scratch / "corrupted.pt"
    if not kept.is_file():
        encoder = EfficientNetLite0(PACKAGED, image_size=PIXELS).eval()
        images = CIFAR100Data(str(data / "cifar100"), BATCH, mean=encoder.preparation.mean, std=encoder.preparation.std)
        images.setup("test")
        images.test.part, images.test.labels = images.test.part[:QUERIES], images.test.labels[:QUERIES]

        def embedded(batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
            with torch.inference_mode():
                return torch.cat([encoder(part) for part, _ in batches])

        found = {"labels": torch.cat([labels for _, labels in images.test_dataloader()[1]])}
        found["clean"] = embedded(images.test_dataloader()[1])
        for name in images.corruptions:
            for severity in SEVERITIES:
                found[f"{name} {severity}"] = embedded(images.corrupted(name, severity))
        torch.save(found, kept)
    loaded: Asked = torch.load(kept, weights_only=True)
    return loaded


def run(arm: str, seed: int, data: Path, scratch: Path) -> dict[str, Any]:
    own = image_run(SETTING, arm, seed, data, scratch)
    if not own.finished:
        own.train()
    checkpoint = own.folder / "checkpoints" / "last.ckpt"
    head = MonoCon.load_from_checkpoint(checkpoint, encoder=nn.Identity()).head
    rows = EmbeddingData(str(scratch / f"cifar100_train_{SETTING.rows}.npz"))
    rows.setup("fit")
    queries = asked(data, scratch)
    labels = queries.pop("labels")
    with torch.inference_mode():
        gallery = head(rows.train.rows)
        values = {
            name: float(knn_accuracy(gallery, rows.train.labels, head(found), labels))
            for name, found in queries.items()
        }
        score = measure(EmbeddingSet(gallery.clone(), rows.train.labels, head(queries["clean"]).clone(), labels), (1,))
    shutil.rmtree(own.folder)
    names = dict.fromkeys(name.split()[0] for name in queries if name != "clean")
    corrupted = {name: [values[f"{name} {severity}"] for severity in SEVERITIES] for name in names}
    figures = {name: getattr(score, name) for name in ("n99", "dim", "rmse", "fvu")}
    return {"arm": arm, "seed": seed, **figures, "clean": values["clean"], "corrupted": corrupted}


def finished() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []


def report() -> str:
    lines = finished()
    names = [name for name in ARMS if any(line["arm"] == name for line in lines)]
    own = {name: [line for line in lines if line["arm"] == name] for name in names}
    # of a scored arm these figures alone are used
    arms = [SimpleNamespace(name=name, scores=[SimpleNamespace(**line) for line in own[name]]) for name in names]
    found = {
        name: [Robustness("knn_accuracy", line["clean"], line["corrupted"]) for line in own[name]] for name in names
    }
    scored = cast("list[Arm]", arms)
    seeds = sorted({line["seed"] for line in lines})
    text = as_parts(scored, found, relations(scored, found)).text(markdown=True)
    return f"{text}\n\nSeeds: {', '.join(map(str, seeds))}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar100")
    parser.add_argument("--scratch", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in SETTING.seeds:
        for arm in ARMS:
            done = any(line["arm"] == arm and (line["seed"] == seed or arm == ARMS[0]) for line in finished())
            if not done:
                line = run(arm, seed, options.data.resolve(), options.scratch.resolve())
                with RUNS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(arm, seed, line["clean"], flush=True)
    print(write_text("robustness", "Frozen EfficientNet-Lite0, asked with corrupted images of CIFAR-100", report()))


if __name__ == "__main__":
    main()
