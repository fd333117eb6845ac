# SPDX-License-Identifier: Apache-2.0
"""Ask the paper's claims of real pretrained encoders, and write docs/research/paper.md.

Run    make paper DATA=FOLDER, or python benchmarks/paper.py --data FOLDER --scratch FOLDER
One row    python benchmarks/paper.py --data FOLDER --only images-frozen-5000-20 mlp 0
           a row that is recorded is made again, printed beside the record and not written
DATA holds cifar100, snli and stsb. Every finished run is one or two lines of results/paper.jsonl (the last epoch and
the best by validation) and is not made again; a run that was killed resumes at its last checkpoint in the scratch
folder. Tables of the page are written from those lines, with --tables alone. --whole takes all images and longer runs,
for a GPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from paper_page import RUNS, Run, finished, key_of, write_page
from paper_settings import ALL_IMAGES, ARMS, ROWS, Outcome, Setting, outcomes
from torch import Tensor

from lightning_monocon.scorecard.codes import code_frontiers
from lightning_monocon.scorecard.scores import measure_all

DIMS, BYTES = (4, 8, 16, 32, 64), (2, 4, 8, 16, 32, 64)
ONE, THREE = (0,), (0, 1, 2)

PLAN = (
    Setting("images", "frozen", ROWS, 20, THREE),
    Setting("sentences", "frozen", 16_262, 8, THREE),
    Setting("images", "along", 2_000, 3, ONE),
    Setting("images", "frozen", ROWS, 40, THREE),
    Setting("images", "frozen", ROWS, 80, THREE),
    Setting("sentences", "frozen", 16_262, 16, THREE),
    Setting("sentences", "frozen", 16_262, 32, THREE),
    Setting("images", "along", 2_000, 6, ONE),
    Setting("images", "along", 2_000, 12, ONE),
    *(Setting("images", "along", 2_000, epochs, (1, 2)) for epochs in (3, 6, 12)),
)
"""What two cores can do, the most telling first."""

WHOLE = tuple(Setting("images", "along", ALL_IMAGES, epochs, THREE) for epochs in (10, 20, 40))
"""What needs a GPU."""

Hits = dict[str, Tensor]
"""By size, such as ``"8 numbers"``, the quality for each query ``(U,)``."""


def judged(outcome: Outcome, rivals: Hits) -> tuple[Run, Hits]:
    """Return the figures of a checkpoint and its qualities by query; ``rivals`` are those of the encoder alone."""
    torch.set_num_threads(os.cpu_count() or 1 if torch.cuda.is_available() else 1)  # a run leaves one thread
    score = measure_all(outcome.data, dims=(1,), extra=DIMS)[0]
    codes = code_frontiers(outcome.data, [score.truth], [[score.frontier]])[0]
    hits = {"whole": score.frontier.hits()[-1]}
    hits |= {f"{k} numbers": score.frontier.hits()[score.frontier.index(k)] for k in DIMS}
    hits |= {f"{size} bytes": codes.hits()[codes.index(size)] for size in BYTES}
    names = ("n", "n_query", "dim", "n99", "n99_interval", "rmse", "fvu", "total_variance", "mean_cosine")
    return {
        **{name: getattr(score, name) for name in names},
        **{"feature_correlation": score.feature_correlation, "validation": outcome.validation},
        "codes": {size: codes.names[codes.index(size)] for size in BYTES},
        "values": {size: round(float(found.mean()), 5) for size, found in hits.items()},
        "leads": {size: _lead(found, rivals[size]) for size, found in hits.items() if size in rivals},
    }, hits


def _lead(ours: Tensor, theirs: Tensor) -> list[float]:
    """Return the mean lead over the encoder at that size, and its standard error over queries."""
    ahead = (ours - theirs).double()
    return [round(float(ahead.mean()), 5), round(float(ahead.std() / len(ahead) ** 0.5), 5)]


def make(setting: Setting, arm: str, seed: int, data: Path, scratch: Path) -> list[Run]:
    """Return the lines of one arm, trained and judged; what the encoder alone answers is found first where it is lost.

    Runs in a process of its own, which gives all memory back: fifty runs in one process had grown to 4 GB.
    """
    torch.set_num_threads(1)
    if arm != ARMS[0] and not (scratch / f"{setting.rival(seed)}-last.pt").is_file():
        list(_made(setting, ARMS[0], seed, data, scratch))
    return list(_made(setting, arm, seed, data, scratch))


def _made(setting: Setting, arm: str, seed: int, data: Path, scratch: Path) -> Iterator[Run]:
    """Train and judge one arm; yield a line for each checkpoint, and then remove what the run left."""
    before = _cpu_seconds()
    line: Run = {}
    gallery = torch.empty(0)
    for outcome in outcomes(setting, arm, seed, data, scratch):
        if not outcome.data.gallery.equal(gallery):  # the best epoch may have been the last
            rival = scratch / f"{setting.rival(seed)}-{outcome.stage}.pt"
            known: Hits = torch.load(rival, weights_only=True) if arm != ARMS[0] and rival.is_file() else {}
            found, hits = judged(outcome, known)
            line = {**setting.described(), "arm": arm, "seed": seed, **found}
        if arm == ARMS[0]:
            torch.save(hits, scratch / f"{setting.rival(seed)}-{outcome.stage}.pt")
        gallery = outcome.data.gallery
        yield {**line, "stage": outcome.stage, "cpu_seconds": round(_cpu_seconds() - before)}
    shutil.rmtree(scratch / setting.name / "runs" / f"{arm}-seed{seed}", ignore_errors=True)


def todo(settings: Sequence[Setting]) -> Iterator[tuple[Setting, str, int]]:
    """Yield the runs that no line tells of, the encoder of each seed first; a frozen one is run once."""
    for setting in settings:
        for seed in setting.seeds:
            for arm in setting.arms:
                done = {key_of(line) for line in finished()}
                again = arm == ARMS[0] and setting.encoder == "frozen"
                if (setting.rival(seed) if again else (setting.name, arm, seed)) not in done:
                    yield setting, arm, seed


def asked(words: Sequence[str]) -> tuple[Setting, str, int]:
    """Return the run that ``--only`` names; exit with status 2 if there is none."""
    name, arm, seed = words
    settings = [setting for setting in (*PLAN, *WHOLE) if setting.name == name]
    named = [
        (setting, arm, int(seed)) for setting in settings if arm in setting.arms and seed in map(str, setting.seeds)
    ]
    if named:
        return named[0]
    if settings:
        seeds = sorted({each for setting in settings for each in setting.seeds})
        rule = f"an arm of {', '.join(settings[0].arms)} and a seed of {', '.join(map(str, seeds))}"
    else:
        rule = f"a setting of {', '.join(dict.fromkeys(setting.name for setting in (*PLAN, *WHOLE)))}"
    print(f"paper.py: `--only` must name {rule}; got {' '.join(words)}.", file=sys.stderr)
    raise SystemExit(2)


def beside(line: Run, recorded: Run) -> str:
    """Return the figures of a run that was made again, each with the recorded one in brackets."""
    pairs = {"n99": (line["n99"], recorded["n99"])}
    pairs |= {size: (value, recorded["values"].get(size)) for size, value in line["values"].items()}
    return f"{line['stage']}: " + ", ".join(f"{name} {new} ({old})" for name, (new, old) in pairs.items())


def _cpu_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def main() -> None:
    options = _options()
    spawn = multiprocessing.get_context("spawn")
    started = time.monotonic()
    runs = [asked(options.only)] if options.only else todo(WHOLE if options.whole else PLAN)
    for setting, arm, seed in () if options.tables else runs:
        if time.monotonic() - started > 60 * options.minutes:
            break
        with ProcessPoolExecutor(1, spawn) as alone:
            given = setting, arm, seed, options.data.resolve(), options.scratch.resolve()
            lines = alone.submit(make, *given).result()
        recorded = {line["stage"]: line for line in finished() if key_of(line) == key_of(lines[0])}
        if recorded:
            print(*(beside(line, recorded[line["stage"]]) for line in lines if line["stage"] in recorded), sep="\n")
            continue
        with RUNS.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        print(setting.name, arm, seed, lines[0]["n99"], lines[0]["values"], lines[0]["cpu_seconds"], flush=True)
    if not options.only:
        print(write_page())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with cifar100, snli and stsb")
    parser.add_argument(
        "--scratch", type=Path, default=Path("paper"), help="where vectors and unfinished runs are kept"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so long")
    parser.add_argument(
        "--only",
        nargs=3,
        metavar=("SETTING", "ARM", "SEED"),
        help="make this run alone; one that is recorded is made again and printed beside its record",
    )
    parser.add_argument("--whole", action="store_true", help="all images, 10, 20 and 40 epochs: for a GPU")
    parser.add_argument("--tables", action="store_true", help="run nothing: write the tables of the page")
    options = parser.parse_args()
    if options.data is None and not options.tables:
        parser.error("--data must name the folder with cifar100, snli and stsb, unless --tables alone is asked for")
    return options


if __name__ == "__main__":
    main()
