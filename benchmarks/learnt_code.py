# SPDX-License-Identifier: Apache-2.0
"""Measure what training with the code in the loop adds to a fitted product code, with labels and without.

Run    python benchmarks/learnt_code.py labels --data CIFAR100 --scratch FOLDER
       python benchmarks/learnt_code.py neighbours --fit F.npy --gallery G.npy --queries Q.npy --scratch FOLDER
Labels: EfficientNet-Lite0 as it comes from ImageNet, on CIFAR-100 at 64 pixels; an MLP head of 64 numbers and 8 bytes
against the whole float vector, 5-NN accuracy. Neighbours: recall@10 of the whole vectors' neighbours. Three seeds.
A finished run with labels is a line of results/learnt_code.jsonl and is not made again; delete the file to measure
again. Writes results/DATE-learnt-code-{labels,neighbours}.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embedded_images import TEST, TRAIN, features
from harness import RESULTS, Row, write
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import fit_product
from lightning_monocon.heads.arms import Arm
from lightning_monocon.learnt import EmbeddingData, LearntCode

SEEDS, SIZE = (0, 1, 2), 8
T_OF_TWO = 4.303  # 97.5 % point of Student's t with two degrees of freedom
RUNS = RESULTS / "learnt_code.jsonl"

WHOLE, CODED = "the vectors, float32, 5,120 bytes", f"the vectors, product code, {SIZE} bytes"
ARMS: dict[str, tuple[Arm, bool]] = {
    "MLP head, then a product code, 8 bytes": ("mlp", False),
    "MLP head and code learnt together, 8 bytes": ("mlp", True),
    "monotonic head and code learnt together, 8 bytes": ("monotonic", True),
}
"""Heads, and whether they are trained on with the code in the loop."""

FLOATS = {"MLP head, then a product code, 8 bytes": "MLP head, float32, 256 bytes"}
"""The run whose head is also judged without a code."""


def right(gallery: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> Tensor:
    """Return for each query whether its five nearest rows by cosine vote for its class; similarity breaks ties."""
    scores = nn.functional.normalize(query) @ nn.functional.normalize(gallery).T
    near = scores.topk(5)
    votes = torch.zeros(len(query), int(labels.max()) + 1)
    votes.scatter_add_(1, labels[near.indices], 1 + near.values / 100)
    return (votes.argmax(1) == truth).double()


def coded(codec: Codec, rows: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    return codec.decode(codec.encode(rows)), codec.space.queries(query)


def fitted(model: LearntCode, data: EmbeddingData, epochs: int, seed: int) -> LearntCode:
    seed_everything(seed, verbose=False)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(
        **quiet, accelerator="cpu", max_epochs=epochs, limit_val_batches=0, enable_model_summary=False
    ).fit(model, data)  # fmt: skip
    return model.eval()


def with_labels(arguments: argparse.Namespace) -> tuple[str, list[Row]]:
    task = Labelled.of(*features(arguments.data, arguments.scratch))
    kept = {(line["arm"], line["seed"]): line for line in finished()}
    for seed in SEEDS:
        for name, (head, joint) in ARMS.items():
            if (name, seed) not in kept:
                model = trained(task, head, arguments.warmup, arguments.joint if joint else 0, seed)
                keep(name, seed, task.judge(model))
    if (CODED, SEEDS[0]) not in kept:
        for name, hits in task.untrained().items():
            keep(name, SEEDS[0], {"coded": hits})
    head = (
        f"5-NN accuracy of {TEST} test images among {TRAIN} train images, on which heads and codes were fitted; the "
        f"head learns alone for {arguments.warmup} epochs, and head and code together for {arguments.joint} more"
    )
    return head, lines_of(finished())


@dataclass(frozen=True)
class Labelled:
    """Hold the embedded images: train rows, which are searched, and test rows, which ask."""

    file: Path
    rows: Tensor
    labels: Tensor
    query: Tensor
    truth: Tensor

    @classmethod
    def of(cls, train: Path, test: Path) -> Labelled:
        """Read both files."""
        return cls(train, *(torch.from_numpy(np.load(f)[n]) for f in (train, test) for n in ("embeddings", "labels")))

    def untrained(self) -> dict[str, Tensor]:
        """Return the hits of the vectors as they come, whole and in codes of `SIZE` bytes."""
        plain = fit_product(FittingRows.of(self.rows), SIZE, "centred")
        return {WHOLE: self.hits(self.rows, self.query), CODED: self.hits(*coded(plain, self.rows, self.query))}

    def judge(self, model: LearntCode) -> dict[str, Tensor]:
        """Return the hits of the head's float outputs and of their codes."""
        with torch.inference_mode():
            outputs = model(self.rows), model(self.query)
        return {"float": self.hits(*outputs), "coded": self.hits(*coded(model.codec(), *outputs))}

    def hits(self, rows: Tensor, query: Tensor) -> Tensor:
        """Return for each test image whether its neighbours vote for its class, ``(Q,)`` float64."""
        return right(rows, self.labels, query, self.truth)


def trained(task: Labelled, head: Arm, warmup: int, joint: int, seed: int) -> LearntCode:
    """Train a head, fit a code on its outputs, and train both for `joint` epochs more."""
    seed_everything(seed, verbose=False)
    model = LearntCode(
        SIZE, task.rows.shape[1], objective="labels", head=head, out_features=64, temperature=0.1,
        head_options={"hidden_features": 512}, warmup_epochs=warmup, lr_warmup=1e-3, lr=5e-4 if joint else 0.0,
        weight_decay=1e-2,
    )  # fmt: skip
    data = EmbeddingData(str(task.file), batch_size=512, val_size=0.05, seed=seed)
    return fitted(model, data, warmup + max(joint, 1), seed)


def finished() -> list[dict[str, Any]]:
    """Return the runs that were made."""
    return [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []


def keep(arm: str, seed: int, hits: dict[str, Tensor]) -> None:
    """Add a run: for each test image in order one bit, whether it was right, as hexadecimal digits."""
    packed = {name: np.packbits(found.numpy() > 0).tobytes().hex() for name, found in hits.items()}
    with RUNS.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"arm": arm, "seed": seed, "images": len(next(iter(hits.values()))), **packed}) + "\n")
    print(seed, arm, {name: round(100 * found.mean().item(), 2) for name, found in hits.items()}, flush=True)


def lines_of(runs: list[dict[str, Any]]) -> list[Row]:
    """Return the table of the runs that were made, every arm against the whole vectors."""
    arms: dict[str, list[Tensor]] = {}
    for run in runs:
        arms.setdefault(run["arm"], []).append(_bits(run, "coded"))
        if run["arm"] in FLOATS:
            arms.setdefault(FLOATS[run["arm"]], []).append(_bits(run, "float"))
    whole = arms[WHOLE][0]
    return [_line(name, arms[name], whole) for name in (WHOLE, CODED, *FLOATS.values(), *ARMS) if name in arms]


def _bits(run: dict[str, Any], name: str) -> Tensor:
    packed = np.frombuffer(bytes.fromhex(run[name]), np.uint8)
    return torch.from_numpy(np.unpackbits(packed, count=run["images"])).double()


def _line(name: str, scores: list[Tensor], other: Tensor) -> Row:
    """Return means over seeds, and the paired difference with two intervals: over seeds, and over queries."""
    means = torch.stack([each.mean() for each in scores])
    gap = torch.stack(scores).mean(0) - other
    over_seeds = f"{100 * T_OF_TWO * float(means.std()) / len(means) ** 0.5:.2f}" if len(means) > 1 else ""
    over_queries = 1.96 * float(gap.std()) / len(gap) ** 0.5
    return {
        "arm": name, "5-NN %": f"{100 * means.mean():.2f}", "seeds": " ".join(f"{100 * m:.2f}" for m in means),
        "95 % over seeds": over_seeds, "minus whole": f"{100 * gap.mean():+.2f}",
        "95 % over queries": f"{100 * over_queries:.2f}",
    }  # fmt: skip


def without_labels(arguments: argparse.Namespace) -> tuple[str, list[Row]]:
    names = (arguments.fit, arguments.gallery, arguments.queries)
    fit, gallery, queries = (torch.from_numpy(np.load(name)) for name in names)
    true = (queries @ gallery.T).topk(10).indices

    def recall(codec: Codec) -> Tensor:
        found = codec.score(queries, codec.encode(gallery)).topk(10).indices
        return (found[:, :, None] == true[:, None]).any(1).double().mean(1)

    lines: list[Row] = []
    for size in arguments.sizes:
        before, after = [], []
        for seed in SEEDS:
            data = EmbeddingData(str(arguments.fit), batch_size=2048, val_size=0.02, seed=seed, split_seed=seed)
            for scores, rate in ((before, 0.0), (after, arguments.rate)):
                model = LearntCode(size, fit.shape[1], lr=rate)
                scores.append(recall(fitted(model, data, arguments.epochs if rate else 1, seed).codec()))
            print(size, seed, before[-1].mean().item(), after[-1].mean().item(), flush=True)
        gaps = torch.stack(after) - torch.stack(before)
        over_queries = 1.96 * float(gaps.mean(0).std()) / len(queries) ** 0.5
        lines.append({
            "bytes": size, "product": f"{torch.stack(before).mean():.4f}", "learnt": f"{torch.stack(after).mean():.4f}",
            "gain": f"{gaps.mean():+.4f}", "95 % over queries": f"{over_queries:.4f}",
            "gain of each seed": " ".join(f"{gap.mean():+.4f}" for gap in gaps),
        })  # fmt: skip
    return f"recall@10 of {len(queries)} queries among {len(gallery)} rows, fitted on {len(fit)} others", lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["labels", "neighbours"])
    parser.add_argument("--data", type=Path, help="what CIFAR100Data reads")
    parser.add_argument("--scratch", type=Path, default=Path(), help="where embeddings are kept")
    for name in ("fit", "gallery", "queries"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32, 48])
    parser.add_argument("--warmup", type=int, default=20, help="epochs of the head alone")
    parser.add_argument("--joint", type=int, default=5, help="epochs of head and code together")
    parser.add_argument("--epochs", type=int, default=60, help="epochs of the code without labels")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate without labels")
    arguments = parser.parse_args()
    head, lines = with_labels(arguments) if arguments.task == "labels" else without_labels(arguments)
    print(write(f"learnt-code-{arguments.task}", "Codes learnt with the rounding in the loop", {head: lines}))


if __name__ == "__main__":
    main()
