# SPDX-License-Identifier: Apache-2.0
"""One rank of a real gloo group of three: run by tests/metrics/test_ranks.py as ``python metric_ranks.py RANK FOLDER``.

Each case names how many gallery and query rows each rank has; the group of two are ranks 0 and 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_monocon.functional import Relevance
from lightning_monocon.heads import MonotonicMLP
from lightning_monocon.metrics import (
    CertifiedAccuracy,
    CodingRate,
    EffectiveDimension,
    KNNAccuracy,
    MeanCosine,
    NeighbourOverlap,
    NeighbourScores,
    NeuralCollapse,
    RateDistortion,
    RecallAtK,
    ReconstructionError,
    RetrievalScores,
    TotalVariance,
    TwoNN,
    Uniformity,
)

Counts = tuple[int, ...]
CASES: dict[str, tuple[Counts, Counts]] = {  # gallery rows, query rows of each rank
    "three, uneven": ((30, 17, 13), (9, 20, 11)),
    "three, one empty": ((31, 0, 29), (40, 0, 0)),
    "three, gallery here and query there": ((60, 0, 0), (0, 25, 15)),
    "two, uneven": ((41, 19), (7, 33)),
    "two, one empty": ((0, 60), (0, 40)),
}


ANSWERS = Relevance(torch.arange(40).repeat(3), torch.arange(120) * 7 % 60, 1 + torch.arange(120) % 3)
"""Three graded rows for each of the 40 queries; ids are the places in the whole data."""


HEAD = MonotonicMLP(5, init="identity")
HEAD.load_state_dict({name: torch.ones_like(value) / 3 for name, value in HEAD.state_dict().items()})


def rows_of(role: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5 if role == "gallery" else 6)
    labels = torch.randint(4, (60 if role == "gallery" else 40,), generator=generator)
    centres = torch.randn(4, 5, generator=torch.Generator().manual_seed(4))
    return centres[labels] + torch.randn(len(labels), 5, generator=generator), labels


def own(counts: Counts, rank: int) -> slice:
    return slice(sum(counts[:rank]), sum(counts[: rank + 1]))


def run(gallery: Counts, query: Counts, rank: int, group: Any) -> dict[str, Any]:
    options = {"process_group": group}
    spectral = [
        EffectiveDimension(0.6, small_sample="ignore", **options),
        MeanCosine(**options),
        RateDistortion(0.1, small_sample="ignore", **options),
        CodingRate(small_sample="ignore", **options),
        ReconstructionError(0.6, small_sample="ignore", **options),
    ]
    rows = [TwoNN(max_rows=25, **options), Uniformity(**options)]
    labelled = [NeuralCollapse(4, **options), NeighbourScores(3, (1, 4), max_gallery=20, **options)]
    answered, kept = RetrievalScores(ANSWERS, **options), NeighbourOverlap(**options)
    certified = CertifiedAccuracy(HEAD, 0.05, 3, **options)
    searches = [KNNAccuracy(3, **options), RecallAtK((1, 4), **options), NeighbourScores(3, (1, 4), **options)]
    for role, counts in (("gallery", gallery), ("query", query)):
        embeddings, labels = (part[own(counts, rank)] for part in rows_of(role))
        if not len(embeddings):
            continue  # a rank that never calls update
        for metric in (*spectral, *rows):
            metric.update(embeddings=embeddings, role=role)
        for metric in (*labelled, certified, *searches):
            metric.update(embeddings, labels, role)
        answered.update(embeddings.round(), torch.arange(60)[own(counts, rank)], role)
        kept.update(embeddings.round(), embeddings[:, :3].round(), role)
    found: dict[str, Any] = {
        type(metric).__name__: metric.compute() for metric in (*spectral, *rows, labelled[0], certified, *searches)
    }
    found["bounded"] = labelled[1].compute()
    found["answered"], found["kept"] = answered.compute(), kept.compute()
    held = spectral[0].statistics("gallery").rows.item()
    with spectral[0].sync_context(dist_sync_fn=spectral[0].dist_sync_fn, process_group=group):
        found["moments"] = [
            tuple(part.clone() for part in spectral[0].statistics(role)) for role in ("gallery", "query")
        ]
    found["local rows before and after"] = (gallery[rank], held, spectral[0].statistics("gallery").rows.item())
    return found


def on_step(rank: int) -> Any:
    """What `forward` gives where metrics are synchronised at each step: the value of all ranks' batches."""
    metric = TotalVariance(dist_sync_on_step=True)
    return [metric(part[own((20, 25, 15), rank)]) for part in (rows_of("gallery")[0], -rows_of("gallery")[0])]


def refused(rank: int) -> str:
    """Two ranks hold embeddings of different width."""
    metric = EffectiveDimension()
    metric.update(torch.eye(3 + rank))
    try:
        metric.compute()
    except ValueError as error:
        return str(error)
    return ""


def main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", f"file://{folder / 'meet'}", rank=rank, world_size=3)
    pair = dist.new_group([0, 1])
    results: dict[str, Any] = {"refused": refused(rank), "on step": on_step(rank)}
    for name, (gallery, query) in CASES.items():
        if rank < len(gallery):
            results[name] = run(gallery, query, rank, pair if len(gallery) == 2 else None)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    # What a never updated rank is told by torchmetrics is not what this tests.
    __import__("warnings").filterwarnings("ignore", message="The ``compute`` method of metric")
    main(int(sys.argv[1]), Path(sys.argv[2]))
