# SPDX-License-Identifier: Apache-2.0
"""Every option of every metric has a type that an editor, a type checker and jsonargparse read."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from jsonargparse import ArgumentError, ArgumentParser
from metrics.test_options import FIXED, GIVEN, OPTIONS, WITH_ANSWERS
from torchmetrics import Metric, MetricCollection
from typing_extensions import Unpack, is_typeddict

from lightning_monocon import metrics

OF_TORCHMETRICS = {
    "compute_on_cpu",
    "dist_sync_on_step",
    "process_group",
    "dist_sync_fn",
    "distributed_available_fn",
    "sync_on_compute",
    "compute_with_cache",
}
EXPECTED = {name: {*options, *FIXED.get(name, ()), *OF_TORCHMETRICS} for name, options in OPTIONS.items()}
EXPECTED["EmbeddingReport"] = {"variance", "labelled", "k", "prefix", "postfix", "compute_groups"}
TEXTS = {"prefix", "postfix"}
UNTYPED = {"process_group"}  # torch.distributed has no type that a command line could give


def shown(kind: type) -> dict[str, Any]:
    """Return the options that the signature itself names, with their types, as an editor reads them."""
    types = get_type_hints(kind.__init__)
    found = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            found[name] = types[name]
            continue
        assert get_origin(types[name]) is Unpack, f"`**{name}` hides the options of {kind.__name__}"
        (options,) = get_args(types[name])
        assert is_typeddict(options)
        assert not options.__required_keys__
        found |= get_type_hints(options)
    return found


def test_all_metrics_are_looked_at() -> None:
    kinds = {name for name in metrics.__all__ if issubclass(getattr(metrics, name), Metric | MetricCollection)}
    assert kinds == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_signature_shows_every_option_with_its_type(name: str) -> None:
    found = shown(getattr(metrics, name))
    assert set(found) == EXPECTED[name]
    assert {option for option, kind in found.items() if kind is Any} <= UNTYPED


@pytest.mark.parametrize(
    "name", [name for name in EXPECTED if name not in (*WITH_ANSWERS, "CertifiedAccuracy")]
)  # answers are tensors, which no command line gives; nor does it give a head that is trained
def test_the_command_line_lists_and_checks_every_option(name: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(getattr(metrics, name), "metric")
    given = [f"--metric.{option}={value}" for option, value in GIVEN.get(name, {}).items()]
    given = [word.replace("(2,)", "[2]") for word in given]
    listed = {action.dest.removeprefix("metric.") for action in parser._actions if "." in action.dest}
    assert listed == EXPECTED[name]
    for option in EXPECTED[name] - UNTYPED - TEXTS:
        with pytest.raises(ArgumentError, match=option):
            parser.parse_args([*given, f"--metric.{option}", "{not: it}"])
    with pytest.raises(ArgumentError, match=r"metric\.normalise"):
        parser.parse_args([*given, "--metric.normalise=true"])
    getattr(metrics, name)(**parser.parse_args(given).as_dict().get("metric", {}))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_misspelt_option_is_refused_by_its_name(name: str) -> None:
    with pytest.raises((TypeError, ValueError), match="normalise"):
        getattr(metrics, name)(**GIVEN.get(name, {}), normalise=True)


def test_a_class_path_takes_its_options() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Metric, "metric")
    asked = {"class_path": "lightning_monocon.metrics.ParticipationRatio", "init_args": {"role": "query"}}
    assert parser.parse_object({"metric": asked}).metric.init_args.role == "query"
    asked["init_args"] = {"role": "both"}
    with pytest.raises(ArgumentError, match="role"):
        parser.parse_object({"metric": asked})
