# SPDX-License-Identifier: Apache-2.0
"""CPU time of whole commands against that of another commit, in alternating rounds.

Run    python benchmarks/commands_speed.py [--cases help score baseline demo] [--old COMMIT] [--rounds 5]
       [--rows 50000] [--queries 10000]
Does   checks the old commit out into a temporary worktree and runs each command by both in turn, a process each, with
       one thread; prints and writes to results/DATE-commands-speed.md the median ratio of CPU time (user and system, of
       all processes of the command) with its lowest and highest, and the most memory that a process held
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from harness import Row, write

COMMANDS = {
    "help": ("monocon fit --help", ["fit", "--help"]),
    "score": ("monocon score", ["score", "mine.npz"]),
    "baseline": ("monocon score --baseline", ["score", "mine.npz", "--baseline", "other.npz"]),
    "demo": (
        "make demo, after installation",
        ["compare", "--config", "digits", "--arms", "encoder", "mlp", "monotonic", "linear-4", "--out", "OUT"],
    ),
}
START = """
import sys, lightning_monocon
if not lightning_monocon.__file__.startswith(sys.argv[1]):
    raise RuntimeError(f"imported {lightning_monocon.__file__}, not a file of {sys.argv[1]}")
from lightning_monocon.cli import main
if __name__ == "__main__":
    main(sys.argv[2:])
"""


class Used(NamedTuple):
    """Hold what one run of a command used."""

    seconds: float
    megabytes: float


def run(words: list[str], package: Path, folder: Path) -> Used:
    """Run a command of the package that lies in a folder; its output is not kept."""
    script = folder / "start.py"
    script.write_text(START)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = [sys.executable, str(script), str(package), *(out if word == "OUT" else word for word in words)]
        environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)  # with the processes that it waited for itself
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def write_sets(folder: Path, rows: int, queries: int) -> None:
    """Write two models' vectors of 512 numbers of the same rows, with 50 classes and a falling spectrum."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows + queries) % 50
    spread = torch.arange(1, 513).pow(-0.5)
    centres = torch.randn(50, 512, generator=generator) * spread
    for name, noise in (("mine", 1.2), ("other", 1.4)):
        vectors = centres[labels] + noise * torch.randn(len(labels), 512, generator=generator) * spread
        np.savez(
            folder / f"{name}.npz",
            gallery=vectors[:rows].numpy(),
            gallery_labels=labels[:rows].numpy(),
            query=vectors[rows:].numpy(),
            query_labels=labels[rows:].numpy(),
        )


def row_of(case: str, old: Path, new: Path, folder: Path, rounds: int) -> Row:
    """Return what both commits use for a command, and the median of the ratios of a round."""
    name, words = COMMANDS[case]
    pairs = [(run(words, old, folder), run(words, new, folder)) for _ in range(rounds)]
    before, after = (np.array([pair[side].seconds for pair in pairs]) for side in (0, 1))
    ratio = before / after
    row: Row = {
        "command": name,
        "rounds": rounds,
        "before, s": round(float(np.median(before)), 2),
        "now, s": round(float(np.median(after)), 2),
        "ratio": round(float(np.median(ratio)), 2),
        "lowest": round(float(ratio.min()), 2),
        "highest": round(float(ratio.max()), 2),
        "before, MB": round(max(pair[0].megabytes for pair in pairs)),
        "now, MB": round(max(pair[1].megabytes for pair in pairs)),
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--old", default="ffe4fb4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=10_000)
    options = parser.parse_args()
    new = Path(__file__).resolve().parents[1]
    git = ["git", "-C", str(new), "worktree"]
    with tempfile.TemporaryDirectory() as scratch:
        old, folder = Path(scratch, "old"), Path(scratch, "work")
        folder.mkdir()
        write_sets(folder, options.rows, options.queries)
        subprocess.run([*git, "add", "--quiet", "--detach", str(old), options.old], check=True)
        try:
            rows = [row_of(case, old, new, folder, options.rounds) for case in options.cases]
        finally:
            subprocess.run([*git, "remove", "--force", str(old)], check=True)
    title = f"CPU time of whole commands, one thread, against commit {options.old}"
    write("commands-speed", title, {f"Scored: {options.rows} rows and {options.queries} queries of 512 numbers": rows})


if __name__ == "__main__":
    main()
