# SPDX-License-Identifier: Apache-2.0
"""Run `monocon landscape sweep`: train a recipe over a grid of options and seeds, and report on the runs together."""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_monocon.cli.arm_run import QUIET, cores
from lightning_monocon.cli.compare import resolve, train
from lightning_monocon.cli.config import recipe_file, refusing
from lightning_monocon.cli.landscape import write_report
from lightning_monocon.cli.mistakes import refusal
from lightning_monocon.cli.options import CommandParser
from lightning_monocon.cli.stopping import resumable_command
from lightning_monocon.cli.sweep_run import SweepRun, told_apart
from lightning_monocon.cli.yaml_files import parse_yaml
from lightning_monocon.runs.folder import one_writer

Grid = dict[str, list[str]]

_CALLBACK = "SemanticLandscape"


def run(args: Sequence[str]) -> None:
    """Run the command, which passes options that it does not know to `monocon fit`.

    It exits with status 2 if an option does not fit, and with 1 if a run failed.

    Args:
        args: The words after ``landscape sweep``.
    """
    options, overrides = parser().parse(args)
    out = Path(options.out)
    with resumable_command("monocon landscape sweep"):
        with refusing():
            if options.jobs < 0:
                raise ValueError(f"`--jobs` must be a number of runs, or 0 for one per core; got {options.jobs}.")
            if out.exists() and not out.is_dir():
                raise ValueError(f"`--out` must be a folder, got the file {options.out!r}. Choose another place.")
            grid = read_grid(options.vary, options.grid)
            runs = plan(options.config, grid, options.seeds, overrides, out)
            with one_writer("--out", out):
                train(runs, options.jobs or cores())
        for place, folders in by_report(runs, out).items():
            write_report(folders, place)


def read_grid(vary: Sequence[str], file: str | None = None) -> Grid:
    """Return the values of each option that varies.

    Args:
        vary: ``OPTION=VALUE,VALUE...``, one for each option.
        file: A YAML file, a mapping from options to lists of values.

    Example:
        >>> read_grid(["data.train_share=0.3,0.4", "model.encoder.width=64"])
        {'data.train_share': ['0.3', '0.4'], 'model.encoder.width': ['64']}

    Raises:
        ValueError: If there is no value, or one is given twice, or the file holds something else.
    """
    grid: Grid = {}
    found = [("--grid", *each) for each in _pairs(file)] + [("--vary", *_split(each)) for each in vary]
    for option, name, values in found:
        if name in grid:
            raise ValueError(
                f"`--vary` and `--grid` must name an option once, got {name} twice; give it all its values at once."
            )
        if not values or len(set(values)) < len(values):
            got = ",".join(values)
            raise ValueError(f"`{option}` must give {name} at least one value and none twice, got {got!r}.")
        grid[name] = values
    return grid


def plan(config: str, grid: Grid, seeds: Sequence[int], overrides: Sequence[str], out: Path) -> list[SweepRun]:
    """Return the runs of a sweep, checked before the first one starts.

    Each value of the grid is tried in the recipe by itself, so that a misspelt option costs no training. Then points
    that cover all values are built, without a run, so that a value which data, model or trainer refuse costs none
    either.

    Raises:
        ValueError: If a seed is repeated, the recipe watches no landscape, or a point cannot be built.
    """
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"`--seeds` must not repeat a value, got {' '.join(map(str, seeds))}.")
    recipe = Path(recipe_file(config))
    if not recipe.is_file():
        raise ValueError(f"`--config` must be a recipe's name or an existing file, got {config!r}.")
    found = resolve(recipe, overrides)
    for option, values in grid.items():
        for value in values:
            found = resolve(recipe, [*overrides, f"--{option}={value}"])
    _check_watched(found, recipe)
    for point in covering(grid):
        _try(recipe, overrides, point)
    points = [*itertools.product(*([(option, value) for value in values] for option, values in grid.items()))]
    lengths, unit = _lengths(found["trainer"], points)
    if unit == "step" and not any(option.startswith("trainer.callbacks") for option in grid):  # one schedule for all
        _check_seen(found, max(lengths))
    return [
        SweepRun(point, seed, recipe, tuple(overrides), out, length, unit)
        for point, length in zip(points, lengths, strict=True)
        for seed in seeds
    ]


def _lengths(trainer: Mapping[str, Any], points: Sequence[Sequence[tuple[str, str]]]) -> tuple[list[int], str]:
    """Return how long a run at each point is at most, and the unit: steps, if they are limited at each point."""
    for unit in ("step", "epoch"):
        name = f"max_{unit}s"
        given = [dict(point).get(f"trainer.{name}", str(trainer[name])) for point in points]
        lengths = [int(each) if each.isdecimal() else 0 for each in given]  # -1 and null are no limit
        if all(lengths):
            break
    return [max(length, 1) for length in lengths], unit


def covering(grid: Grid) -> list[list[tuple[str, str]]]:
    """Return points of a grid, as few as its longest list of values, in which each value occurs.

    Example:
        >>> covering({"a": ["1", "2", "3"], "b": ["x", "y"]})
        [[('a', '1'), ('b', 'x')], [('a', '2'), ('b', 'y')], [('a', '3'), ('b', 'x')]]
    """
    longest = max(map(len, grid.values()), default=0)
    return [[(option, values[row % len(values)]) for option, values in grid.items()] for row in range(longest)]


def _try(recipe: Path, overrides: Sequence[str], point: Sequence[tuple[str, str]]) -> None:
    """Build trainer, model and data of a point and drop them; raise ValueError with what they refuse."""
    from lightning_monocon.cli.trainer import BuiltCLI
    from lightning_monocon.cli.trainer import run as fit

    words = [f"--{option}={value}" for option, value in point]
    try:
        with _without_notes():
            fit(["fit", "--config", str(recipe), *overrides, *words, *QUIET], BuiltCLI)
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        raise ValueError(
            f"`--vary` must give values that the recipe can run; {' '.join(words)} is refused: {refused}"
        ) from error


@contextmanager
def _without_notes() -> Iterator[None]:
    """Silence what Lightning says of devices and seeds when it is built; its warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def by_report(runs: Sequence[SweepRun], out: Path) -> dict[Path, list[Path]]:
    """Return the folders of the runs by the folder of their report: that of the sweep, or one for each kind of run.

    Runs of one kind have one task, one credence by chance, and the same strata, measure and roles, as a report asks. A
    folder is named by as many of these as tell it from the others, such as the task alone.
    """
    from lightning_monocon.landscape.graph import role_attributes
    from lightning_monocon.watching.files import read_tracker

    kinds: dict[tuple[str, ...], list[Path]] = {}
    for each in runs:
        tracker, settings = read_tracker(each.folder)
        chance = "" if tracker.chance is None else f"of chance {tracker.chance:.6g}"
        roles = " ".join(f"{role} {strata}" for role, strata in role_attributes(tracker.roles).items())
        task, strata = str(settings.get("task", "")) or "unknown task", f"with {' '.join(tracker.strata.names)}"
        kinds.setdefault((task, chance, strata, f"by {tracker.measure}", roles), []).append(each.folder)
    if len(kinds) == 1:
        return {out: [each.folder for each in runs]}
    differ = [place for place, words in enumerate(zip(*kinds, strict=True)) if place == 0 or len(set(words)) > 1]
    told = [[kind[place] for place in differ] for kind in kinds]
    names = [re.sub(r"[^\w.]+", "-", " ".join(told_apart(words, told))).strip("-") for words in told]
    return {out / name: folders for name, folders in zip(names, kinds.values(), strict=True)}


def _landscapes(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the landscapes among the callbacks of a configuration."""
    return [each for each in config["trainer"]["callbacks"] or [] if each["class_path"].endswith(f".{_CALLBACK}")]


def _check_watched(config: Mapping[str, Any], recipe: Path) -> None:
    if not _landscapes(config):
        raise ValueError(
            f"`--config` must name a recipe with `{_CALLBACK}` among its callbacks, such as grokking; {recipe.name} "
            "has none, so its runs would have no landscape."
        )


def _check_seen(config: Mapping[str, Any], steps: int) -> None:
    """Raise ValueError if even the longest run is too short for a report."""
    from lightning_monocon.landscape.trajectory import FEWEST_EVALUATIONS
    from lightning_monocon.watching.schedule import evaluations

    schedules = [each["init_args"]["schedule"] for each in _landscapes(config)]
    counts = [evaluations(schedule, steps) for schedule in schedules]
    if all(count is not None and count < FEWEST_EVALUATIONS for count in counts):
        raise ValueError(
            f"`--trainer.max_steps` must leave at least {FEWEST_EVALUATIONS} evaluations of the landscape, which a "
            f"report needs; {steps} steps have {counts[0]} by the schedule {schedules[0]!r}. "
            "Train for more steps."
        )


def _split(word: str) -> tuple[str, list[str]]:
    name, equals, values = word.partition("=")
    if not equals or not name:
        raise ValueError(f"`--vary` must be OPTION=VALUE,VALUE..., such as data.train_share=0.3,0.4; got {word!r}.")
    return name.lstrip("-"), [value for value in values.split(",") if value]


def _pairs(file: str | None) -> list[tuple[str, list[str]]]:
    if file is None:
        return []
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"`--grid` must be an existing YAML file with the values of each option, got {file!r}.")
    wanted = "a list of values for each option, as in `data.train_share: [0.3, 0.4]`"
    content = parse_yaml(path.read_text(encoding="utf-8"), f"`--grid` {file!r}", wanted)
    wrong = next((name for name, values in content.items() if not isinstance(values, list)), None)
    if wrong is not None:
        raise ValueError(
            f"`--grid` must give each option a list of values, as in `data.train_share: [0.3, 0.4]`; {wrong} has "
            f"{content[wrong]!r}."
        )
    return [(str(name), [_word(value) for value in values]) for name, values in content.items()]


def _word(value: object) -> str:
    """Return a value of YAML as it is written on a command line."""
    return json.dumps(value) if isinstance(value, bool | list | dict | None) else str(value)


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "landscape sweep",
        usage="--config RECIPE --vary OPTION=VALUE,... --out FOLDER [OPTIONS]",
        about="Train a recipe at every point of a grid, with every seed, and report on the landscapes together. "
        "Finished runs in --out are used again, so the same command resumes. All other options go to `monocon fit`.",
        file="--options",
        paths=("out", "grid"),
        passes_on="--",
    )
    add = found.add_argument
    add("--config", type=str, required=True, help="A packaged recipe's name or a YAML file.")
    add("--out", type=str, required=True, help="The folder of runs, report and figures.")
    add("--vary", nargs="+", type=str, default=[], help="Options of `monocon fit` with the values that each takes.")
    add("--grid", type=str, default=None, help="A YAML file with a list of values for each option that varies.")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="The seeds at each point.")
    add("--jobs", type=int, default=0, help="Runs at a time; 0 stands for one per core.")
    return found
