# SPDX-License-Identifier: Apache-2.0
"""What the landscape says of fine-tuning all-MiniLM-L6-v2 with wrong labels and without.

Run    python benchmarks/minilm_noise.py --stsb FOLDER --out RUNS [--seeds 0 1]
Does   trains the recipe `stsb_noise` with 20 % wrong labels and with none, each seed once, one thread a run; a run that
       RUNS holds already is read and not trained again; writes results/DATE-minilm-noise.md
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from training_runs import monocon, write_text

from lightning_monocon.landscape.phases import phases_line, trajectory_phases
from lightning_monocon.watching.files import read_tracker

SHARES = (0.2, 0.0)


def run(share: float, seed: int, stsb: Path, out: Path) -> Path:
    """Train the recipe once, unless that was done before, and return the folder of the run."""
    folder = out / f"{share:g}-{seed}"
    if not (folder / "landscape" / "tracker.pt").is_file():
        words = ["fit", "--config", "stsb_noise", "--run_dir", folder, "--seed_everything", seed]
        words += ["--data.train", stsb / "train.tsv.gz", "--data.val", stsb / "dev.tsv.gz", "--data.label_noise", share]
        measured = monocon([*words, "--trainer.enable_progress_bar", "false"], out)
        (folder / "cpu_seconds").write_text(f"{measured.cpu:.0f}\n")
    return folder


def row(share: float, seed: int, folder: Path) -> str:
    """Return a row of the table."""
    tracker, _ = read_tracker(folder)
    trajectory = tracker.trajectory
    surprise = trajectory.role("held_out", "fallibility")
    events = [
        f"{event.kind} ({event.step_left if event.step_left is not None else '-'} to {event.step_entered})"
        for event in tracker.events
        if event.kind not in ("provisional", "emergence")
    ]
    last = (trajectory.role("train")[-1], trajectory.role("held_out")[-1], float(np.nanmin(surprise)), surprise[-1])
    cpu = folder / "cpu_seconds"  # missing of a run that was made by hand
    cells = [f"{share:.0%}", str(seed), cpu.read_text().strip() if cpu.is_file() else "-", *(f"{x:.2f}" for x in last)]
    return f"| {' | '.join([*cells, ', '.join(events) or 'none'])} |"


def geometry(share: float, seed: int, folder: Path) -> str:
    """Return a line of the phases by RankMe and by alpha-ReQ."""
    phases = trajectory_phases(read_tracker(folder)[0].trajectory)
    rank, alpha = (phases_line(phases.get(name, ())) for name in ("effective_rank", "alpha_req"))
    return f"- {share:.0%}, seed {seed}: RankMe {rank}. Alpha-ReQ {alpha}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stsb", type=Path, required=True, help="folder with train.tsv.gz and dev.tsv.gz of STS-B")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    options.out.mkdir(parents=True, exist_ok=True)
    found = [
        (share, seed, run(share, seed, options.stsb.resolve(), options.out.resolve()))
        for share in SHARES
        for seed in options.seeds
    ]
    head = ["share", "seed", "CPU s", "train", "held out", "lowest", "last", "events (left to entered)"]
    table = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *(row(*each) for each in found)]
    text = (
        "The recipe `stsb_noise`: 128 sentences of STS-B from four sources, 192 steps of 16, all weights trained.\n"
        "Credences are those of the last evaluation, on 48 sentences of each half of the probe; *lowest* and *last*\n"
        "are the fallibility of the held-out half in nats.\n\n"
    )
    phases = "\n".join(geometry(*each) for each in found)
    body = "\n".join(table)
    write_text("minilm-noise", "Fine-tuning MiniLM with wrong labels", f"{text}{body}\n\n## Geometry\n\n{phases}")


if __name__ == "__main__":
    main()
