# SPDX-License-Identifier: Apache-2.0
"""Check the options of `SemanticLandscape`: those that can be judged alone, and those that need the model and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.inference.outputs import named_submodule
from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.roles import RoleNames, check_roles
from lightning_monocon.training.batches import described
from lightning_monocon.watching.loaders import with_labels
from lightning_monocon.watching.probe import FEWEST, noted_strata
from lightning_monocon.watching.sequences import RULES, column_of, split_column
from lightning_monocon.watching.token_probe import first_batch, is_sequential

TRACKER = ("eps_in", "eps_out", "window", "max_window")


def check_schedule(signature: str, schedule: str | int, budget: float | None) -> None:
    """Raise ValueError if an option that says what is evaluated, and how often, is out of range."""
    check_choice("signature", signature, ("soft_knn", "logits"))
    if schedule not in ("log", "validation") and not (_is_count(schedule) and schedule > 0):  # type: ignore[operator]  # a count is an int
        raise ValueError(f"`schedule` must be 'log', 'validation' or a positive number of steps; got {schedule!r}.")
    if budget is not None and not (is_number(budget) and 0 < budget <= 1):
        raise ValueError(f"`budget` must be a share of wall time between 0 and 1, or None; got {budget!r}.")


def check_name(name: str) -> None:
    """Raise ValueError if a name cannot be that of a folder beside others."""
    if not isinstance(name, str) or not name.strip(". ") or any(part in name for part in "/\\"):
        raise ValueError(f"`name` must be that of a folder, without slashes; got {name!r}. Pass one such as 'trunk'.")


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError if two landscapes of a run have one name: each would overwrite the files of the other."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"`name` must differ between the landscapes of a run, which would overwrite each other; got {twice!r} "
            f"twice. Pass name='{twice}-2', or one that says what is watched, to one of them."
        )


def check_probe(probe: int, temperature: float, geometry_every: int, seed: int) -> None:
    """Raise ValueError if an option of the probe or of its geometry is out of range."""
    if not _is_count(probe) or probe < 2 * FEWEST:
        raise ValueError(
            f"`probe` must be a number of inputs, at least {2 * FEWEST}, half of them from each set; got {probe!r}. "
            "Pass a larger one, such as 512."
        )
    if not (is_number(temperature) and temperature > 0):
        raise ValueError(f"`temperature` must be above 0, such as that of the loss; got {temperature!r}.")
    if not _is_count(geometry_every) or geometry_every < 1:
        raise ValueError(
            f"`geometry_every` must be a number of evaluations, at least 1; got {geometry_every!r}. Pass 1 to measure "
            "the geometry at each of them."
        )
    if not _is_count(seed):
        raise ValueError(f"`seed` must be an integer, such as 0; got {seed!r}.")


def check_rules(roles: RoleNames | None, chance: float | None, tracker: dict[str, Any] | None) -> None:
    """Raise ValueError if an option that the tracker gets is unknown or out of range; strata need the data."""
    check_roles(roles)
    if chance is not None and not is_number(chance):
        raise ValueError(f"`chance` must be a number between 0 and 1, or None; got {chance!r}.")
    tracker = {} if tracker is None else tracker
    if not isinstance(tracker, Mapping):
        raise ValueError(f"`tracker` must be a mapping of {', '.join(TRACKER)} to numbers; got {tracker!r}.")
    unknown = next((name for name in tracker if name not in TRACKER), None)
    if unknown is not None:
        raise ValueError(f"`tracker` must hold only {', '.join(TRACKER)}; got {unknown!r}. Remove or rename it.")
    wrong = next((name for name, value in tracker.items() if value is not None and not is_number(value)), None)
    if wrong is not None:
        raise ValueError(f"`tracker` must hold numbers; got {wrong}={tracker[wrong]!r}.")
    LandscapeTracker(["train"] * FEWEST + ["val"] * FEWEST, chance=chance, **tracker)


def check_switches(groups: bool, next_token: bool | None, strata: str | None, labels: str | None) -> None:
    """Raise ValueError if a switch is no bool, or the rule for strata or the entry of the labels no name."""
    if not isinstance(groups, bool):
        raise ValueError(f"`groups` must be True or False; got {groups!r}.")
    if next_token is not None and not isinstance(next_token, bool):
        raise ValueError(f"`next_token` must be True, False or None; got {next_token!r}.")
    if strata is not None and not (isinstance(strata, str) and strata):
        raise ValueError(f"`strata` must be the name of a rule, an entry or an attribute, or None; got {strata!r}.")
    if labels is not None and not (isinstance(labels, str) and labels):
        raise ValueError(f"`labels` must be the name of an entry of the batch, or None; got {labels!r}.")


def check_layers(module: LightningModule, layer: str | None, geometry_layer: str | None) -> None:
    """Raise ValueError if the module has no submodule of one of the names."""
    for argument, name in (("layer", layer), ("geometry_layer", geometry_layer)):
        if name is not None:
            named_submodule(module, name, argument)


def check_strata(strata: str | None, loader: object, labels: str | None = None) -> None:
    """Raise ValueError if the data cannot be split so.

    Args:
        strata: A rule, an entry of the batches of a loader or an attribute of its set, or None.
        loader: The train loader.
        labels: Entry of the batches that holds the labels, or None.
    """
    if not isinstance(loader, DataLoader) or (strata is None and labels is None):
        return
    loader = with_labels(loader, labels)
    batch = first_batch(loader)  # names the labels that a batch does not have
    if strata is None or noted_strata(strata, {"train": loader}):
        return
    if is_sequential(loader):
        if column_of(strata) is not None:
            split_column(batch, strata)
    elif not (isinstance(batch, Mapping) and strata in batch):
        rule = ", a rule for sequences" if strata in RULES else ""
        raise ValueError(
            "`strata` must be an entry of the batch, or an attribute of the data set with a value for each item, where "
            f"each input has one label; got {strata!r}{rule}, and the batch is {described(batch)}."
        )


def is_number(value: object) -> bool:
    """Return whether a value is a number and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
