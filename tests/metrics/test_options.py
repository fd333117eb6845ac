# SPDX-License-Identifier: Apache-2.0
"""Every metric of the package with every option: alone, in a collection beside itself, merged, and loaded again."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from helpers.metric_cases import ANSWERS, assert_same, fed
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lightning_monocon import metrics
from lightning_monocon.functional import Relevance
from lightning_monocon.heads import LinearHead, MonotonicMLP
from lightning_monocon.metrics.answered import AnsweredMetric
from lightning_monocon.metrics.streaming import StreamingMetric

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning_monocon.functional.DegenerateSampleWarning",
    "ignore::lightning_monocon.metrics.SmallSampleWarning",
)

SPECTRUM = {"normalize": False, "nan_strategy": "ignore", "role": "query", "small_sample": "ignore", "groups": 3}
SAMPLE = {"max_rows": 20, "seed": 1, "role": "query"}
SEARCH = {"metric": "euclidean", "max_gallery": 20, "seed": 1}
ANSWERED = {
    "relevance": Relevance(ANSWERS.query, ANSWERS.row + 1, ANSWERS.grade),
    "metric": "euclidean",
    "exclude_own_id": True,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "Alignment": {"alpha": 3.0},
    "AlphaReQ": {"first": 2, "last": 4, **SPECTRUM, "normalize": True},
    "CertifiedAccuracy": {"head": LinearHead(6, 2), "eps": 0.2, "k": 3, "least": -99.0},
    "CodingRate": {"eps": 0.1, **SPECTRUM},
    "CorrectedEffectiveDimension": {"variance": 0.5, "confidence": 0.8, **SPECTRUM},
    "DiffusionSpectralEntropy": {"sigma": 1.0, "t": 2, **SAMPLE},
    "DistinctRows": {"size": 8, "role": "query"},
    "EffectiveDimension": {"variance": 0.5, **SPECTRUM},
    "FeatureCorrelation": SPECTRUM,
    "KNNAccuracy": {"k": 3, **SEARCH},
    "LinearCKA": {},
    "LocalIntrinsicDimension": {"k": 4, "average": "mean", **SAMPLE},
    "MRR": {"k": (2,), **ANSWERED},
    "MeanCosine": {name: SPECTRUM[name] for name in SPECTRUM if name != "normalize"},
    "NDCG": {"k": (2,), **ANSWERED},
    "NeighbourOverlap": {"k": 3, "p": 0.5, "metric": "euclidean"},
    "NeighbourScores": {"k": 3, "recall_k": (2,), **SEARCH},
    "NeuralCollapse": {"num_classes": 4, "normalize": True, "nan_strategy": "ignore", "role": "query", "groups": 3},
    "ParticipationRatio": SPECTRUM,
    "RateDistortion": {"fvu": 0.2, **SPECTRUM},
    "RecallAtK": {"k": (2,), **SEARCH},
    "ReconstructionError": {"variance": 0.5, **{name: SPECTRUM[name] for name in SPECTRUM if name != "role"}},
    "RelevantRecall": {"k": (2,), **ANSWERED},
    "RetrievalScores": {"ndcg_k": 2, "mrr_k": 3, "map_k": 4, "recall_k": 5, **ANSWERED},
    "SpectralEffectiveRank": {"centred": True, "values": "eigenvalues", **SPECTRUM, "normalize": True},
    "StableRank": {"centred": False, **SPECTRUM},
    "TotalVariance": SPECTRUM,
    "TruncationCurve": {"dims": (3,), "k": 3, "max_gallery": 20, "seed": 1},
    "TwoNN": {"discard": 0.3, **SAMPLE},
    "Uniformity": {"t": 1.0, **SAMPLE},
}
"""Another value than the default for each option of each metric."""

HEAD = MonotonicMLP(6, init="identity")
WITH_ANSWERS = ("MRR", "NDCG", "RelevantRecall", "RetrievalScores")
GIVEN: dict[str, dict[str, Any]] = {
    "CertifiedAccuracy": {"head": HEAD, "eps": 0.1},
    "NeuralCollapse": {"num_classes": 3},
    "TruncationCurve": {"dims": (2,)},
    **{name: {"relevance": ANSWERS} for name in WITH_ANSWERS},
}
FIXED = {"MeanCosine": {"normalize"}, "TruncationCurve": {"metric"}}
"""Options that a metric takes at their default alone."""

BOUNDS = {"seed": ("max_rows", "max_gallery")}
"""Options that only count beside another."""


UNSAMPLED = (AnsweredMetric, metrics.CertifiedAccuracy)


def options_of(kind: type[Metric]) -> dict[str, Any]:
    """Return what the constructors of a metric and of its bases in the package take, with the defaults."""
    ours = [base for base in kind.__mro__ if issubclass(base, StreamingMetric) and "__init__" in vars(base)]
    # from the base on, so that the default of the class itself counts
    found = {name: one for base in ours[::-1] for name, one in inspect.signature(base.__init__).parameters.items()}
    hidden = {"self", "kwargs", "bounds", *(("seed",) if issubclass(kind, UNSAMPLED) else ())}
    return {name: one.default for name, one in found.items() if name not in hidden}


def made(name: str, **options: Any) -> Metric:
    found: Metric = getattr(metrics, name)(**{**GIVEN.get(name, {}), **options})
    return found


def paired(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each batch what metrics of pairs take."""
    return [
        {
            **batch,
            "features": batch["embeddings"],
            "positives": batch["embeddings"].flip(1),
            "first": batch["embeddings"],
            "second": batch["embeddings"].square(),
        }
        for batch in batches
    ]


def all_equal(rows: int, role: str) -> dict[str, Any]:
    same = torch.arange(1.0, 7.0).expand(rows, 6).clone()
    labels = torch.zeros(rows, dtype=torch.long)
    extra = {"ids": 1000 + torch.arange(len(same)), "reference": same[:, :3]}
    extra |= dict.fromkeys(("features", "positives", "first", "second"), same)
    return {"embeddings": same, "labels": labels, "role": role, **extra}


def test_the_table_has_every_metric_and_every_option() -> None:
    kinds = {name: getattr(metrics, name) for name in metrics.__all__}
    every = {name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, StreamingMetric)}
    assert every == set(OPTIONS)
    for name in every:
        options = options_of(kinds[name])
        assert set(options) == set(OPTIONS[name]) | FIXED.get(name, set()), name
        assert all(options[option] != value for option, value in OPTIONS[name].items()), name


CASES = [(name, option) for name, options in OPTIONS.items() for option in options]


@pytest.mark.parametrize("rows", [0, 30])
@pytest.mark.parametrize(("name", "option"), CASES, ids=lambda value: value)
def test_a_collection_never_joins_what_differs(
    name: str, option: str, rows: int, batches: list[dict[str, Any]]
) -> None:
    bound = {other: 20 for other in BOUNDS.get(option, ()) if other in OPTIONS[name]}
    changes = {"base": bound, "other": {**bound, option: OPTIONS[name][option]}}
    # compute groups are found after the first batch, on which many options make no difference
    fed_with = [all_equal(rows, "gallery"), *paired(batches)]
    collection = MetricCollection({key: made(name, **change) for key, change in changes.items()})
    for batch in fed_with:
        collection.update(**batch)
    for key, metric in collection.items(keep_base=True):
        assert_equal(metric.compute(), fed(made(name, **changes[key]), fed_with).compute())


def assert_equal(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_merge_after_a_value_gives_the_new_value(name: str, batches: list[dict[str, Any]]) -> None:
    halves = [fed(made(name), paired(batches)[start::2]) for start in range(2)]
    before = halves[0].compute()
    whole = fed(made(name), paired(batches)).compute()
    for incoming in (halves[1], halves[1].metric_state):
        merged = copy.deepcopy(halves[0])
        assert_equal(merged.compute(), before)
        merged.merge_state(incoming)
        assert_same(merged.compute(), whole)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_state_that_is_loaded_after_a_value_gives_its_own(name: str, batches: list[dict[str, Any]]) -> None:
    saved, metric = fed(made(name), paired(batches)), fed(made(name), paired(batches)[:1] + paired(batches)[-1:])
    for one in (saved, metric):
        one.persistent(True)
        one.compute()
    metric.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert_same(metric.compute(), saved.compute())


def test_states_of_other_options_are_not_merged() -> None:
    rows = torch.eye(3)
    first, second = metrics.Alignment(), metrics.Alignment(alpha=3.0)
    for metric in (first, second):
        metric.update(rows, rows.flip(0))
    with pytest.raises(ValueError, match=r"of a Alignment with the same options; it lacks total_2_0 and holds pairs, "):
        first.merge_state(second)
    with pytest.raises(ValueError, match=r"holds nothing"):
        first.merge_state({})
    expected: Tensor = (rows - rows.flip(0)).norm(dim=1).square().mean()
    torch.testing.assert_close(first.compute(), expected)
