# SPDX-License-Identifier: Apache-2.0
"""`monocon compare`: train the arms on one recipe and say which embedding is best at which size."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from io import StringIO
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from lightning_monocon.cli.arm_run import ArmRun, cores, epochs_done, option, start_worker, train_unless_stopping
from lightning_monocon.cli.compared_arms import ARMS, DEFAULT
from lightning_monocon.cli.parts import read_recipe
from lightning_monocon.cli.words import OneSentenceParser, expanded, resolve_recipes, stop

_POLL_SECONDS = 0.5
_MISSPELT = 0.85


def run(args: Sequence[str]) -> None:
    """Run the command.

    Args:
        args: ``["compare", ...]``; options it does not know go to `monocon fit`.

    Raises:
        SystemExit: With status 2 if an option does not fit, 1 if a run failed.
    """
    parser = _parser()
    options, overrides = parser.parse_known_args(list(args)[1:])
    _refuse_misspelt(overrides, [name for action in parser._actions for name in action.option_strings])
    try:
        runs = plan(options.config, options.arms, options.seeds, overrides, Path(options.out))
        _check_overrides(runs[0])
        with _only_one(Path(options.out)):
            train(runs, options.jobs or cores())
            _report(Path(options.out), options.arms, options.config, overrides)
    except ValueError as error:
        print(f"monocon compare: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except RuntimeError as error:
        print(f"monocon compare: error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        print("monocon compare: stopped; nothing is lost, and the same command resumes.", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None


def _refuse_misspelt(overrides: Sequence[str], own: Sequence[str]) -> None:
    """Refuse an option that nearly is one of this command before it goes to `monocon fit`.

    Raises:
        SystemExit: With status 2 if there is one.
    """
    for word in overrides:
        option = word.partition("=")[0]
        if meant := option.startswith("--") and get_close_matches(option, own, n=1, cutoff=_MISSPELT):
            stop(f"`{option}` is not an option of `monocon compare`; did you mean `{meant[0]}`?")


def _check_overrides(first: ArmRun) -> None:
    """Let `monocon fit` read the options of a run before the first one is trained.

    Raises:
        SystemExit: With status 2 and a sentence, if one of them does not fit.
    """
    from lightning_monocon.cli.trainer import run as fit

    try:
        with redirect_stdout(StringIO()):
            fit([*first.arguments(), "--print_config"])
    except SystemExit as stopped:
        if stopped.code:
            raise


def plan(config: str, arms: Sequence[str], seeds: Sequence[int], overrides: Sequence[str], out: Path) -> list[ArmRun]:
    """Return the runs of a comparison, checked before the first one starts.

    Raises:
        ValueError: If an arm is unknown or named twice, or the recipe does not say how long to train.
    """
    for name, values in (("--arms", arms), ("--seeds", seeds)):
        if len(set(values)) < len(values):
            raise ValueError(f"`{name}` must not repeat a value, got {' '.join(map(str, values))}.")
    recipe = Path(resolve_recipes(["--config", config])[1])
    if not recipe.is_file():
        raise ValueError(f"`--config` must be a recipe's name or an existing file, got {config!r}.")
    runs = [ArmRun(arm, seed, recipe, tuple(overrides), out) for seed in seeds for arm in arms]
    for each in runs:
        each.arguments()
    _check_classes(recipe)
    return runs


def _check_classes(recipe: Path) -> None:
    """Refuse data of this package without classes before anything is trained.

    Raises:
        ValueError: If the recipe's data have none.
    """
    from lightning_monocon import data

    section = read_recipe(recipe).get("data")
    path = str(section.get("class_path") if isinstance(section, dict) else section)
    kind = getattr(data, path.rpartition(".")[2], None) if path.startswith("lightning_monocon.data.") else None
    if getattr(kind, "has_classes", True) is False:
        raise ValueError(
            f"`--config` must name data with classes, by which neighbours are judged; {path} has single sentences. "
            "Train the recipe and its `_mlp` and `_encoder` twins with `monocon fit`, and compare `val/spearman`."
        )


def train(runs: Sequence[ArmRun], jobs: int) -> None:
    """Make the runs that are not finished, ``jobs`` at a time, with a progress bar in epochs.

    Raises:
        RuntimeError: If a run failed; those that finished are kept.
    """
    todo = [each for each in runs if not each.finished]
    if not todo:
        return
    total = sum(each.epochs for each in todo)
    context = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads
    stopping = context.Event()
    with (
        ProcessPoolExecutor(min(jobs, len(todo)), context, start_worker, (stopping,)) as pool,
        tqdm(total=total, unit="epoch", desc=f"{len(todo)} runs", dynamic_ncols=True) as bar,
    ):
        futures = {pool.submit(train_unless_stopping, each): each for each in todo}
        try:
            _watch(futures, bar)
        except KeyboardInterrupt:
            _stop_now(pool, stopping)
            raise


def _stop_now(pool: ProcessPoolExecutor, stopping: Event) -> None:
    """End the runs under way, and begin none that waits: each keeps what it has saved."""
    stopping.set()
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()  # a run finishes its step, saves and ends, as at any SIGTERM


def _watch(futures: dict[Future[None], ArmRun], bar: tqdm[Any]) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_POLL_SECONDS)
        bar.n = sum(epochs_done(each.folder) for each in futures.values())
        bar.refresh()
        for future in done:
            if error := future.exception():
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise KeyboardInterrupt from error  # the signal reached the run before this process
                for other in pending:
                    other.cancel()
                each = futures[future]
                raise RuntimeError(
                    f"the run {each.folder.name} failed: {str(error).rstrip('.')}. Its log is "
                    f"{each.folder / 'log.txt'}; nothing is lost, and the same command resumes."
                ) from error
    bar.n = bar.total
    bar.refresh()


def _report(out: Path, arms: Sequence[str], config: str, overrides: Sequence[str]) -> None:
    from lightning_monocon.scorecard.runs import score_runs, write

    scorecard, drawn = score_runs(out, arms)
    write(out, scorecard, drawn)
    print(scorecard.table())
    print(f"\nWritten to {out}/: scorecard.html, scorecard.md, scorecard.json and the figures.")
    if mode := option(overrides, "--wandb"):
        from lightning_monocon.cli.mirror import mirror

        group = option(overrides, "--wandb_group") or Path(config).stem
        mirror(out, scorecard, drawn, mode=mode, project=option(overrides, "--wandb_project"), group=group)


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(out / ".lock").acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"`--out` must not be in use; another comparison writes to {str(out)!r}. Choose another."
        ) from None
    with held:
        yield


def _parser() -> argparse.ArgumentParser:
    parser = OneSentenceParser(
        "monocon compare",
        description="Train the arms on one recipe and say which embedding is best at which size. "
        "Finished runs in --out are used again. Other options go to `monocon fit`; --wandb mirrors the scorecard too.",
        epilog="arms:\n" + "\n".join(f"  {name:<16} {what}" for name, what in ARMS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help="a recipe's name or file")
    parser.add_argument("--out", type=expanded, required=True, help="folder for runs, table and figures")
    parser.add_argument(
        "--arms",
        nargs="+",
        default=list(DEFAULT),
        metavar="ARM",
        help=f"see below (default: {' '.join(DEFAULT)})",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="(default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=0, help="runs at a time (default: one per core)")
    return parser
