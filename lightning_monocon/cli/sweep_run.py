# SPDX-License-Identifier: Apache-2.0
"""Train one run of a sweep: a point of the grid, a seed, a folder."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import traceback
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lightning_monocon.cli.arm_run import QUIET, epochs_done, into_log, last_step
from lightning_monocon.runs import files

_SPEC, _LOG = "sweep.json", "log.txt"


@dataclass(frozen=True)
class SweepRun:
    """Describe what one process of a sweep trains.

    Attributes:
        point: The values of the options that vary, by the names of the options.
        seed: The seed of the weights.
        recipe: The recipe's file.
        overrides: Further options of `monocon fit`.
        out: The sweep's folder.
        length: How many epochs or steps the run is trained for at most, for the progress bar.
        unit: Which of them, ``"epoch"`` or ``"step"``.
    """

    point: tuple[tuple[str, str], ...]
    seed: int
    recipe: Path
    overrides: tuple[str, ...]
    out: Path
    length: int
    unit: str = "epoch"

    @property
    def name(self) -> str:
        """Return the point and the seed in words that a folder may have.

        Example:
            >>> SweepRun((("data.train_share", "0.4"),), 1, Path("grokking.yaml"), (), Path("out"), 1).name
            'train_share=0.4,seed=1'

        Options of one last word have as many of those before it as tell them apart.
        """
        options = [option.split(".")[::-1] for option, _ in self.point]
        named = [".".join(told_apart(own, options)[::-1]) for own in options]
        settings = [(name, value) for name, (_, value) in zip(named, self.point, strict=True)]
        return ",".join(f"{name}={_plain(value)}" for name, value in [*settings, ("seed", str(self.seed))])

    @property
    def folder(self) -> Path:
        """Return the run's own folder."""
        return self.out / "runs" / self.name

    @property
    def finished(self) -> bool:
        """Return whether the folder holds this run, finished.

        Raises:
            ValueError: If it holds a run of other settings, or anything that a sweep did not write.
        """
        stored = self._stored()
        if stored is None and self._is_empty:
            return False
        if stored is None or {**stored, "finished": False} != self._spec(finished=False):
            raise ValueError(
                f"`--out` must hold runs of the same recipe, options and version; {str(self.folder)!r} holds another. "
                "Choose another folder."
            )
        return bool(stored["finished"])

    @property
    def _is_empty(self) -> bool:
        """Return whether the folder is missing or empty, but for what a kill leaves while its first file is written."""
        if not self.folder.exists():
            return True
        ours = {files.sidecar(self.folder / _SPEC), *files.leftovers(self.folder)}
        return all(path in ours for path in self.folder.iterdir())

    @property
    def done(self) -> int:
        """Return how many epochs or steps are done; all of them once the run has ended, as it may stop earlier.

        A worker may be writing the folder, so that what is in it is read once and not judged.
        """
        stored = self._stored() or {}
        if stored.get("finished"):
            return self.length
        count = last_step if self.unit == "step" else epochs_done
        return min(count(self.folder), self.length)

    def arguments(self) -> list[str]:
        """Return the words after ``monocon``."""
        words = ["fit", "--config", str(self.recipe), "--seed_everything", str(self.seed), *self.overrides]
        words += [word for option, value in self.point for word in (f"--{option}", value)]
        return [*words, "--run-dir", str(self.folder), "--report", "false", *QUIET]

    def train(self) -> None:
        """Train the run; all output goes to the folder's log.

        A run that was stopped goes on from its newest checkpoint, and one without checkpoints begins again.
        """
        import torch

        from lightning_monocon.cli.trainer import run as fit

        has_checkpoint = any((self.folder / "checkpoints").glob("*.ckpt"))
        if self.folder.exists() and not has_checkpoint:
            shutil.rmtree(self.folder)  # half a record of a run that cannot go on; `finished` has seen that it is ours
        files.write(self.folder / _SPEC, json.dumps(self._spec(finished=False), indent=1).encode())
        torch.set_num_threads(1)  # the sweep runs one process per core
        with into_log(self.folder / _LOG):
            try:
                fit([*self.arguments(), *(["--resume", "auto"] if has_checkpoint else [])])
            except BaseException:
                traceback.print_exc()
                raise
        files.write(self.folder / _SPEC, json.dumps(self._spec(finished=True), indent=1).encode())

    def _spec(self, *, finished: bool) -> dict[str, object]:
        return {
            "point": [list(pair) for pair in self.point],
            "seed": self.seed,
            "recipe": hashlib.sha256(self.recipe.read_bytes()).hexdigest(),
            "overrides": list(self.overrides),
            "version": version("lightning-monocon"),
            "finished": finished,
        }

    def _stored(self) -> dict[str, object] | None:
        try:
            content = json.loads((self.folder / _SPEC).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None


def told_apart(words: list[str], several: list[list[str]]) -> list[str]:
    """Return the fewest leading words that only one of several has.

    Example:
        >>> told_apart(["a", "b", "c"], [["a", "b", "c"], ["a", "d"]])
        ['a', 'b']
    """
    fewest = next(n for n in range(1, len(words) + 1) if sum(other[:n] == words[:n] for other in several) == 1)
    return words[:fewest]


def _plain(value: str) -> str:
    """Return a value as a part of a folder's name; what a folder cannot be called becomes a dash and a digest."""
    plain = re.sub(r"[^\w.+-]", "-", value)
    return plain if plain == value else f"{plain[:40]}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"
