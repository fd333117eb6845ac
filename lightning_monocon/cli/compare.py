# SPDX-License-Identifier: Apache-2.0
"""Run `monocon compare`: train the arms on one recipe and say which embedding is best at which size."""

from __future__ import annotations

import multiprocessing
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from lightning_monocon.cli.arm_run import (
    CERTIFICATES,
    ROBUSTNESS,
    ArmRun,
    PooledRun,
    cores,
    start_worker,
    train_unless_stopping,
)
from lightning_monocon.cli.compared_arms import ARMS, BASELINE, DEFAULT, parse_arm
from lightning_monocon.cli.config import recipe_file, refusing
from lightning_monocon.cli.options import CommandParser, add_codes
from lightning_monocon.cli.stopping import resumable_command
from lightning_monocon.cli.yaml_files import parse_yaml
from lightning_monocon.runs.folder import one_writer

if TYPE_CHECKING:
    from lightning_monocon.scorecard.card import Scorecard
    from lightning_monocon.scorecard.codes import CodesTried

_POLL_SECONDS = 0.5
_CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
"""Losses of torch whose input is a score for each class."""


class Beyond(NamedTuple):
    """Hold what a comparison is asked for beyond its scorecard; see `ArmRun`."""

    robustness: bool = False
    certify: tuple[float, ...] = ()


def run(args: Sequence[str]) -> None:
    """Run the command, which passes options that it does not know to `monocon fit`.

    It exits with status 2 if an option does not fit, and with 1 if a run failed.
    """
    options, overrides = parser().parse(args[1:])
    out = Path(options.out)
    with resumable_command("monocon compare"), refusing():
        if options.jobs < 0:
            raise ValueError(f"`--jobs` must be a number of runs, or 0 for one per core; got {options.jobs}.")
        _check_codes(options.codes)
        _check_baseline(options.arms)
        judged = Beyond(options.robustness, tuple(options.certify or ()))
        runs = plan(options.config, options.arms, options.seeds, overrides, out, judged)
        with one_writer("--out", out):
            train(runs, options.jobs or cores())
            _report(out, options.arms, runs[0].config, Path(options.config).stem, judged, options.codes)


def _check_baseline(arms: Sequence[str]) -> None:
    """Raise ValueError, before anything is trained, without the arm that the others are judged against."""
    if BASELINE not in arms:
        raise ValueError(
            f"`--arms` must hold {BASELINE}, the baseline of all others; got {' '.join(arms)}. Add it, for example "
            f"--arms {BASELINE} {' '.join(arms)}."
        )


def plan(
    config: str,
    arms: Sequence[str],
    seeds: Sequence[int],
    overrides: Sequence[str],
    out: Path,
    beyond: Beyond = Beyond(),  # noqa: B008  # immutable
) -> list[ArmRun]:
    """Return the runs of a comparison, checked before the first one starts.

    Raises:
        ValueError: If an arm is unknown or named twice, or the recipe does not say how long to train.
    """
    for name, values in (("--arms", arms), ("--seeds", seeds)):
        if len(set(values)) < len(values):
            raise ValueError(f"`{name}` must not repeat a value, got {' '.join(map(str, values))}.")
    recipe = Path(recipe_file(config))
    if not recipe.is_file():
        raise ValueError(f"`--config` must be a recipe's name or an existing file, got {config!r}.")
    for arm in arms:
        parse_arm(arm)  # an unknown one is refused before Lightning is imported
    resolved = resolve(recipe, overrides)
    _check_model(resolved, recipe)
    _check_length(resolved, recipe)
    _check_judges(resolved, beyond)
    return [ArmRun(arm, seed, recipe, tuple(overrides), out, resolved, *beyond) for seed in seeds for arm in arms]


def resolve(recipe: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that `monocon fit` makes of a recipe and options; exit with status 2 if one is wrong."""
    from lightning_monocon.cli.trainer import run as fit

    printed = StringIO()
    try:
        with redirect_stdout(printed):
            fit(["fit", "--config", str(recipe), *overrides, "--print_config"])
    except SystemExit as stopped:
        if stopped.code:
            raise
    return parse_yaml(printed.getvalue(), "the configuration")


def _check_model(config: Mapping[str, Any], recipe: Path) -> None:
    """Raise ValueError if the recipe's model has no head that an arm could replace, or a loss of class scores."""
    if "head_options" not in config["model"]:
        kind = config["model"].get("class_path", "its model")
        raise ValueError(
            f"`--config` must be a recipe of `MonoCon`, whose head is swapped for that of each arm; {recipe.name} "
            f"trains {kind}. Choose another, such as digits."
        )
    loss = (config["model"].get("loss") or {}).get("class_path", "")
    if loss.startswith("torch.nn.") and loss.rpartition(".")[2] in _CLASS_LOSSES:
        raise ValueError(
            f"`--config` must be a recipe that trains embeddings; {recipe.name} trains class scores with {loss}, which "
            "an arm without the recipe's head does not give. Choose another, such as digits or grokking_supcon."
        )


def _check_length(config: Mapping[str, Any], recipe: Path) -> None:
    """Raise ValueError unless every arm, with a warm-up or without, trains for the same number of joint epochs."""
    epochs, warmup = config["trainer"]["max_epochs"], config["model"]["warmup_epochs"]
    if epochs is None:
        raise ValueError(
            "`--config` must set `trainer.max_epochs` to an integer, so that all arms train equally long; "
            f"{recipe.name} has None."
        )
    if epochs <= warmup:
        raise ValueError(
            f"`--trainer.max_epochs` must exceed the {warmup} warm-up epochs, which come on top of the joint ones; got "
            f"{epochs}. Train for longer, or warm up for fewer by `--model.warmup_epochs`."
        )


def _check_judges(config: Mapping[str, Any], beyond: Beyond) -> None:
    """Raise ValueError, before anything is trained, if the recipe's data cannot be judged, or not be corrupted."""
    module, _, name = config["data"]["class_path"].rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)  # imported, since the configuration names it
    if getattr(kind, "has_classes", True) is False and not hasattr(kind, "judged"):
        raise ValueError(
            f"`--config` must name data with classes or known answers, by which arms are judged; {module}.{name} has "
            "neither. Give it a method `judged`, as `lightning_monocon.data.SentencePairs` has."
        )
    if beyond.certify and getattr(kind, "has_classes", True) is False:
        raise ValueError(
            f"`--certify` must be used with data that have classes, whose 5-NN label is proved; {module}.{name} has "
            "none. Leave it out."
        )
    if not all(size > 0 for size in beyond.certify):
        raise ValueError(
            "`--certify` must be positive changes, in deviations of the features, such as 0.003 0.01; got "
            f"{' '.join(f'{size:g}' for size in beyond.certify)}."
        )
    if beyond.robustness and not hasattr(kind, "corrupted"):
        raise ValueError(
            f"`--robustness` must be used with data that can corrupt their queries, images or sentences; {module}."
            f"{name} cannot. Leave it out, or give the class `corruptions` and `corrupted`, as "
            "`lightning_monocon.data.corrupted.CorruptibleData` describes them."
        )


def train(runs: Sequence[PooledRun], jobs: int) -> None:
    """Make the runs that are not finished, ``jobs`` at a time, with a bar in epochs, or in steps if those are limited.

    Raises:
        RuntimeError: If a run failed; those that finished are kept.
    """
    todo = [each for each in runs if not each.finished]
    if not todo:
        return
    total, unit = sum(each.length for each in todo), todo[0].unit
    context = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads
    stopping = context.Event()
    with (
        ProcessPoolExecutor(min(jobs, len(todo)), context, start_worker, (stopping,)) as pool,
        tqdm(total=total, unit=unit, desc=f"{len(todo)} runs", dynamic_ncols=True, disable=None) as bar,
    ):
        if bar.disable:  # stderr is a file
            print(f"Training {len(todo)} runs of at most {total} {unit}s in all.", file=sys.stderr)
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


def _watch(futures: dict[Future[None], PooledRun], bar: tqdm[Any]) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_POLL_SECONDS)
        bar.n = sum(each.done for each in futures.values())
        bar.refresh()
        for future in done:
            error = future.exception()
            if bar.disable and not error:
                print(f"{futures[future].folder.name}: trained.", file=sys.stderr)
            if error:
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


def _check_codes(codes: CodesTried) -> None:
    """Raise an error, before anything is trained, if the runs could not be judged in these codes."""
    if codes == "fast":
        return  # nothing to import
    from lightning_monocon.scorecard.codes import check_codes

    check_codes(codes, "--codes")


def _report(
    out: Path, arms: Sequence[str], config: Mapping[str, Any], recipe: str, beyond: Beyond, codes: CodesTried
) -> None:
    """Judge the runs, write and print the scorecard, and mirror it to W&B where the runs are mirrored.

    The bottom line comes last too, where a terminal shows it without scrolling.
    """
    from lightning_monocon.cli.mirror import mirror
    from lightning_monocon.scorecard.render.text import as_text, conclusion
    from lightning_monocon.scorecard.runs import score_runs, write

    certificates = CERTIFICATES if beyond.certify else ""
    scorecard, drawn = score_runs(out, arms, BASELINE, codes, certificates)
    write(out, scorecard, drawn)
    print(as_text(scorecard))
    if codes == "all":
        _warn_unfitted(scorecard)
    print(f"\nWritten to {out}/: scorecard.html, scorecard.md, scorecard.json and the figures.")
    _report_beyond(out, scorecard, beyond)
    print(f"\n{conclusion(scorecard)}")
    group = config["wandb_group"] or recipe
    mirror(out, scorecard, drawn, mode=config["wandb"], project=config["wandb_project"], group=group)


def _warn_unfitted(scorecard: Scorecard) -> None:
    """Say that no family competed, whatever was asked for, if the galleries have too few rows."""
    from lightning_monocon.scorecard.codes import FEWEST_ROWS

    plain = [arm.name for arm in scorecard.arms if any(score.codes and not score.codes.fitted for score in arm.scores)]
    if plain:
        print(
            f"\nmonocon compare: `--codes` all needs galleries of at least {FEWEST_ROWS:,} rows; plain numbers alone "
            f"stand for the codes of {', '.join(plain)}.",
            file=sys.stderr,
        )


def _report_beyond(out: Path, scorecard: Scorecard, beyond: Beyond) -> None:
    from lightning_monocon.scorecard import robustness
    from lightning_monocon.scorecard.runs import run_folders

    def files(name: str) -> Callable[[str], list[Path]]:
        return lambda arm: [folder / name for _, folder in run_folders(out, arm)]

    if beyond.robustness:
        text = robustness.write(out, scorecard, files(ROBUSTNESS))
        print(f"\nCorrupted queries, also in {out}/robustness.md and .json:\n\n{text}")
    if beyond.certify:
        print(f"\nAnswers that are proved: see {out}/certificates.md, .json and .png.")


def parser() -> CommandParser:
    """Return the parser of the command."""
    arms = [textwrap.fill(f"  {name:<17}{said}", 80, subsequent_indent=" " * 19) for name, said in ARMS.items()]
    found = CommandParser(
        "compare",
        usage="--config RECIPE --out FOLDER [OPTIONS]",
        about="Train the arms on one recipe and say which embedding is best at which size. Finished runs in --out are "
        "used again. All other options go to `monocon fit`, whose help lists them. Of those, --wandb mirrors the "
        "scorecard as well.",
        more="\n".join(["arms:", *arms, ""]),
        file="--options",
        paths=("out",),
        passes_on="--",
    )
    add = found.add_argument
    add("--config", type=str, required=True, help="A packaged recipe's name or a YAML file.")
    add("--out", type=str, required=True, help="The folder of runs, tables and figures.")
    add("--arms", nargs="+", type=str, default=list(DEFAULT), help="The arms to train; see below.")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="The seeds of each arm.")
    add("--jobs", type=int, default=0, help="Runs at a time; 0 stands for one per core.")
    add_codes(found)
    _add_beyond(found)
    return found


def _add_beyond(parser: CommandParser) -> None:
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="Ask with corrupted queries too: images with noise, blur, less contrast or JPEG, sentences with typos, "
        "capitals or words out of order, in five severities each.",
    )
    parser.add_argument(
        "--certify",
        nargs="+",
        type=float,
        metavar="EPS",
        help="Say which 5-NN labels of 100 queries provably stay, and which stay under an attack, while every feature "
        "moves by EPS deviations of the features.",
    )
