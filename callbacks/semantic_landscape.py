# SPDX-License-Identifier: Apache-2.0
"""Follow a network over its semantic landscape while it trains, on a fixed probe."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_monocon.callbacks._watcher import OnError, Watcher, harmless
from lightning_monocon.inference.embed import untouched
from lightning_monocon.landscape import Event, LandscapeTracker, credence, soft_knn_credence
from lightning_monocon.landscape.geometry import probe_geometry
from lightning_monocon.landscape.qualifiers import Geometry
from lightning_monocon.landscape.roles import parse_roles
from lightning_monocon.landscape.trajectory import FEWEST_EVALUATIONS
from lightning_monocon.loggers.figures import log_figure, log_table
from lightning_monocon.watching.budget import Budget
from lightning_monocon.watching.drawing import draw, write_figures
from lightning_monocon.watching.files import FOLDER, Settings, write_landscape
from lightning_monocon.watching.geometry_tap import GeometryTap
from lightning_monocon.watching.loaders import probe_loaders, with_labels
from lightning_monocon.watching.options import (
    check_layers,
    check_name,
    check_names,
    check_probe,
    check_rules,
    check_schedule,
    check_strata,
    check_switches,
)
from lightning_monocon.watching.probe import Probe, check_numbers, draw_probe, evaluate
from lightning_monocon.watching.schedule import is_due, next_due, planned_steps
from lightning_monocon.watching.settings import settings_of
from lightning_monocon.watching.table import COLUMNS, event_line, event_table, latest
from lightning_monocon.watching.token_probe import draw_token_probe, evaluate_tokens, is_sequential

FEWEST_CLASSES = 4
"""Class scores of fewer classes span a plane at most, once they are learnt: there, a low rank is no collapse."""

SHARDED = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)


class SemanticLandscape(Watcher):
    """Track changes of state on the semantic landscape (arXiv 2307.09550, operationalised, not proven).

    The callback works with any LightningModule whose batches are ``(inputs, labels)`` or a mapping with labels:
    `forward`, or the submodule ``layer``, must map each input to one row. Labels ``(B, T)`` make it a sequence model,
    whose output must be logits ``(B, T, V)`` or hold them under ``logits``, as the causal and masked language models of
    transformers do; its probe is a set of pairs of sequence and position. Half of the probe is drawn from the set of
    the train loader, half from that of the last validation loader. The callback writes ``events.jsonl``, the graph,
    ``trajectory.csv`` and a figure to ``<default_root_dir>/<name>``, logs scalars under ``<name>/`` and prints each
    confirmed event in one line.

    Training is not affected: the probe runs in eval and inference mode, modes and random states are restored, and an
    error becomes a warning, with the landscape so far written; a mistaken option stops the run before its first step.
    A probe larger than the data allow is made smaller, with a warning. Under DDP the first rank evaluates the probe,
    without collectives; if parameters are sharded, all ranks do.

    Args:
        probe: Number of labelled inputs, or of pairs of sequence and position.
        signature: Credence by ``"soft_knn"`` (the rows are embeddings) or ``"logits"`` (class scores).
        schedule: ``"log"`` (45 evaluations a decade of steps), ``"validation"``, or every so many steps.
        layer: Submodule whose output is evaluated; None for the output of `forward`.
        temperature: Temperature of the soft k-NN; pass that of the loss.
        groups: Whether to report when a class has emerged; each class needs 3 inputs in the validation half.
        budget: Largest share of wall time; an evaluation that would exceed it is skipped, unless the whole run can
            afford it (2 seconds at most, spread over the decades of steps) or it is one of 20 that take at most 1
            second together, so that short runs are seen. The last step is always evaluated. A warning at the end says
            how many were skipped, if those are the most or few were taken. None for no limit.
        geometry_every: Evaluations between two measurements of the geometry: effective rank (RankMe), participation
            ratio, alpha-ReQ and n99.
        geometry_layer: Submodule whose output's geometry is measured, such as ``"encoder"``; for sequences it returns
            ``(B, T, D)``. None for the rows that are evaluated; those of sequences are logits, which have none.
        seed: Seed of the draw of the probe.
        tracker: Further options of `LandscapeTracker`.
        strata: Rule that splits the two halves of the probe into strata, such as ``train/first``: for sequences
            ``"repetition"``, ``"frequency"`` or ``"position"`` (see `name_strata`), or an entry of the batch, for
            classes too, whose values name them. For classes also an attribute of a data set with a value for each item:
            ``"label_kinds"`` of the package's data sets splits ``train/right`` from ``train/wrong``, the samples to
            which ``label_noise`` gave another label. None for the strata ``train`` and ``val``.
        roles: Strata of ``"train"``, of ``"held_out"`` and of ``"wrong"`` (trained on with a wrong label), which the
            rules read; None for all from the train and all from the validation set, and for ``train/wrong``.
        chance: Credence by chance, from which the rules count gains; None for one over the number of classes or tokens
            of the logits.
        labels: Entry of a mapping that holds the labels, where a batch names them otherwise than ``"labels"``,
            ``"label"``, ``"targets"``, ``"target"`` or ``"y"``, or has several. It is no input then.
        next_token: Whether a position is judged by the label of the next one. None finds out: it is if the labels equal
            the tokens, or the batch has no labels.
        on_error: ``"warn"`` continues the run without the landscape after an error in the data or in an evaluation,
            ``"raise"`` stops the run.
        name: Folder of the files in ``default_root_dir``, and prefix of what is logged. Each of several landscapes of
            a run, such as those of two layers, needs a name of its own.

    Raises:
        ValueError: If an option is unknown or out of range. Before the first step, if the module has no ``layer`` or
            ``geometry_layer``, the data no ``strata`` or ``labels``, the probe no stratum of ``roles``, or another
            landscape of the run has the same ``name``. With ``on_error="raise"`` also if a set is too small for a
            probe, or a resumed run has another probe.
    """

    def __init__(
        self,
        probe: int = 512,
        signature: Literal["soft_knn", "logits"] = "soft_knn",
        schedule: Literal["log", "validation"] | int = "log",
        *,
        layer: str | None = None,
        temperature: float = 0.1,
        groups: bool = False,
        budget: float | None = 0.02,
        geometry_every: int = 5,
        geometry_layer: str | None = None,
        seed: int = 0,
        tracker: dict[str, float] | None = None,
        strata: str | None = None,
        roles: dict[str, str | list[str]] | None = None,
        chance: float | None = None,
        labels: str | None = None,
        next_token: bool | None = None,
        on_error: OnError = "warn",
        name: str = FOLDER,
    ) -> None:
        super().__init__(on_error)
        check_name(name)
        check_schedule(signature, schedule, budget)
        check_probe(probe, temperature, geometry_every, seed)
        check_switches(groups, next_token, strata, labels)
        check_rules(roles, chance, tracker)
        self.size, self.signature, self.schedule, self.layer = probe, signature, schedule, layer
        self.temperature, self.groups, self.budget = temperature, groups, budget
        self.costs = Budget(budget)
        self.geometry_every, self.geometry_layer = geometry_every, geometry_layer
        self.seed, self.options = seed, dict(tracker or {})
        self.strata, self.roles, self.chance = strata, roles, chance
        self.labels, self.next_token = labels, next_token
        self.name = name
        told = {} if name == FOLDER else {"name": name}  # checkpoints of earlier releases have no name
        key = self._generate_state_key(signature=signature, layer=layer, seed=seed, **told)
        self._key = key  # Lightning asks at each hook
        self.tracker: LandscapeTracker | None = None
        self._probe: Probe | None = None
        self._stored: dict[str, Any] | None = None
        self._settings: Settings = {}
        self._next: int | None = None  # step before which nothing is due
        self._batches = 0  # batches before which it cannot have come; to ask for the step takes microseconds
        self._drawn = False
        self._leave: Callable[[], None] | None = None  # writes what was seen, while there is something to lose
        self._due: dict[str, Any] | None = None  # the state without an evaluation that only the end of the run took

    @property
    def state_key(self) -> str:
        """Return a key by layer, signature, seed and name, so that each landscape keeps its own state."""
        return self._key

    @property
    def measure(self) -> str:
        """Return how the credence is measured, in words; only runs that measure it alike are merged."""
        place = "" if self.layer is None else f" of {self.layer}"
        tokens = "token " if self._probe is not None and self._probe.places is not None else ""
        warmth = f" at temperature {self.temperature:g}" if self.signature == "soft_knn" else ""
        return tokens + self.signature + place + warmth

    @property
    def events(self) -> list[Event]:
        """Return the events so far."""
        return [] if self.tracker is None else self.tracker.events

    @property
    def overhead(self) -> float:
        """Return the share of wall time spent on the landscape."""
        return self.costs.overhead

    @property
    def skipped(self) -> int:
        """Return how many evaluations the budget has skipped."""
        return self.costs.skipped

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the tracker and the time spent; nothing without a tracker."""
        if self.tracker is None:
            return {}
        return self._due or {"tracker": self.tracker.state_dict(), **self.costs.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the probe is drawn again and can be compared."""
        self._stored = state_dict or None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the submodules exist, and that no other landscape has the name of this one."""
        check_layers(pl_module, self.layer, self.geometry_layer)
        others: list[Any] = getattr(trainer, "callbacks", [])
        check_names([each.name for each in others if isinstance(each, SemanticLandscape)])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the probe, restore a stored landscape, and evaluate the network as it starts."""
        self._reset(planned_steps(trainer))
        if not self._takes_part(trainer):
            return
        with untouched(pl_module):
            check_strata(self.strata, trainer.train_dataloader, self.labels)
        self._prepare(trainer, pl_module)
        if self._probe is not None:
            parse_roles(self.roles, sorted(set(self._probe.names)))
            self._begin(trainer, pl_module)
        if self._together(trainer) and self.tracker is not None and not len(self.tracker.trajectory):
            self._evaluate(trainer, pl_module)

    def _reset(self, planned: int | None) -> None:
        self.costs.start(planned)
        self._drawn, self._due, self._probe, self.tracker, self._leave = False, None, None, None, None
        self._next, self._batches = None, 0

    @harmless
    def _prepare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._probe = self._draw(trainer, pl_module)

    @harmless
    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._probe is not None
        self._settings = settings_of(trainer)
        self._leave = partial(self._write, trainer, pl_module)
        self.tracker = LandscapeTracker(
            self._probe.names,
            groups=self._probe.labels if self.groups else None,
            chance=self.chance,
            probe=self._probe.fingerprint,
            measure=self.measure,
            roles=self.roles,
            **self.options,  # type: ignore[arg-type]
        )
        if self._stored is not None:
            self.tracker.load_state_dict(self._stored["tracker"])
            self.costs.load_state_dict(self._stored)
            self._stored = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Evaluate if the schedule says so."""
        self._batches -= 1
        if self._batches > 0:
            return
        step = trainer.global_step
        if self._next is None or step >= self._next:
            if is_due(self.schedule, step) and self._together(trainer):
                self._evaluate(trainer, pl_module)
            self._next = next_due(self.schedule, step)
        if pl_module.automatic_optimization:  # a batch is one step at most
            self._batches = self._next - step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate after a validation, unless this is the sanity check."""
        if self.schedule == "validation" and not trainer.sanity_checking and self._together(trainer):
            self._evaluate(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the last step if it was not due, write the landscape and pass it to the loggers."""
        if self._together(trainer):
            self._evaluate(trainer, pl_module, is_last=True)
        self._finish(trainer, pl_module)

    @harmless
    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave = None
        self._write(trainer, pl_module)
        self._tell_skipped(trainer)

    @harmless
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the landscape so far: Lightning calls no other hook after a failure."""
        self._leave = None
        self._write(trainer, pl_module)

    def on_stop(self) -> None:
        """Write what was seen before the error, and drop it: with a gap it would be wrong from here on."""
        leave, self._leave = self._leave, None
        if leave is not None:
            with suppress(Exception):  # the warning names the error that came first
                leave()
        self.tracker = None

    def _takes_part(self, trainer: Trainer) -> bool:
        return trainer.is_global_zero or isinstance(trainer.strategy, SHARDED)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> Probe:
        train, val = (with_labels(loader, self.labels) for loader in probe_loaders(trainer, pl_module))
        with untouched(pl_module):
            if is_sequential(train):
                if self.signature != "logits" or self.groups:
                    raise ValueError(
                        "`signature` must be 'logits' and `groups` False for labels (B, T), which make a sequence "
                        f"model; got {self.signature!r} and {self.groups}. Split sequences by `strata`; return one "
                        "number for each pair of texts, and `labels.argmax(1)` of one-hot labels."
                    )
                return draw_token_probe(train, val, self.size, self.seed, self.strata, self.next_token)
            return draw_probe(train, val, self.size, self.seed, self.strata)

    def _together(self, trainer: Trainer) -> bool:
        """Return whether no rank has stopped that others need in order to evaluate."""
        return not isinstance(trainer.strategy, SHARDED) or self.agrees(trainer)

    @harmless
    def _evaluate(self, trainer: Trainer, module: LightningModule, *, is_last: bool = False) -> None:
        if self.tracker is None or self._probe is None:
            return
        if is_last:
            self._due = self.state_dict()  # a run that is resumed with more steps equals one that never ended
        rows, step = self.tracker.trajectory, trainer.global_step
        if len(rows) and step <= rows.steps[-1]:  # several batches of one accumulated step
            return
        if len(rows) and not is_last and not self._affords(trainer, step, rows.steps[-1]):
            self.costs.skip(step)
            return
        start = time.perf_counter()
        is_measured = len(rows) % self.geometry_every == 0
        credences, judged = self._measured(module, self._probe, is_measured)
        check_numbers(credences, step)
        geometry = probe_geometry(judged) if judged is not None and is_measured else Geometry()
        found = self.tracker.update(step, credences, **geometry._asdict())
        measured = time.perf_counter() - start
        self._report(trainer, found)
        self.costs.add(step, measured, time.perf_counter() - start)

    def _affords(self, trainer: Trainer, step: int, last_step: int) -> bool:
        allowed = self.costs.allows(step, last_step)
        shared = self.budget is not None and isinstance(trainer.strategy, SHARDED)  # each rank has a clock of its own
        return bool(trainer.strategy.broadcast(allowed)) if shared else allowed

    def _tell_skipped(self, trainer: Trainer) -> None:
        """Warn if most evaluations were skipped or few were taken; say it in a line if any was skipped."""
        told = self.costs.told() if trainer.is_global_zero else ""
        if told and (self.costs.skipped > self.costs.taken or self.costs.taken < FEWEST_EVALUATIONS):
            warnings.warn(told, stacklevel=2)
        elif told:
            rank_zero_info(f"{self.name}: {told}")

    def _measured(self, module: LightningModule, probe: Probe, with_layer: bool) -> tuple[Tensor, Tensor | None]:
        """Return the credences ``(P,)`` and the rows ``(P, D)`` whose geometry is measured, if there are any."""
        if self.geometry_layer is None:
            outputs, credences = self._evaluated(module, probe)
            return credences, outputs
        if not with_layer:
            return self._evaluated(module, probe)[1], None
        with GeometryTap(self.geometry_layer, probe).open(module) as tap:
            return self._evaluated(module, probe)[1], tap.rows()

    def _evaluated(self, module: LightningModule, probe: Probe) -> tuple[Tensor | None, Tensor]:
        """Return the outputs ``(P, D)`` and the credences; no outputs of sequences or of very few classes."""
        if probe.places is not None:
            found = evaluate_tokens(module, probe, self.layer)
            self._take_chance(found.vocabulary)
            return None, found.credence
        outputs = evaluate(module, probe, self.layer)
        if self.signature == "logits":
            classes = outputs.shape[1]
            self._take_chance(classes)
            return outputs if classes >= FEWEST_CLASSES else None, credence(outputs, probe.labels)
        return outputs, soft_knn_credence(outputs, probe.labels, probe.strata == 0, temperature=self.temperature)

    def _take_chance(self, classes: int) -> None:
        if self.tracker is not None and self.tracker.chance is None and classes > 1:
            self.tracker.chance = 1 / classes

    def _report(self, trainer: Trainer, found: list[Event]) -> None:
        assert self.tracker is not None
        if not trainer.is_global_zero:
            return
        told = [event for event in found if event.kind != "provisional"]
        for event in told:
            rank_zero_info(f"{self.name}: {event_line(event)}")
        values = {f"{self.name}/{name}": value for name, value in latest(self.tracker.trajectory).items()}
        values[f"{self.name}/overhead_share"] = self.overhead
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
            if told and isinstance(logger, WandbLogger):
                self._drawn = True
                log_figure(logger, self.name, draw(self.tracker))

    def _write(self, trainer: Trainer, module: LightningModule) -> None:
        if self.tracker is None or not trainer.is_global_zero or not len(self.tracker.trajectory):
            return
        folder = Path(trainer.default_root_dir) / self.name
        write_landscape(self.tracker, folder, self._settings)
        figure = write_figures(self.tracker, folder)
        for logger in trainer.loggers:
            if not (self._drawn and isinstance(logger, WandbLogger)):  # which has it from each event
                log_figure(logger, self.name, figure)
            log_table(logger, f"{self.name}/events", COLUMNS, event_table(self.events))
