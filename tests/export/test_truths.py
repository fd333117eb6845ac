# SPDX-License-Identifier: Apache-2.0
"""An export says what is lost by known answers, graded pairs and neighbours, against NumPy and SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracles.cut import cut, unit
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.export import DoubtfulExportWarning, Export, Known, export_model, load
from lightning_monocon.export.gallery import embed_rows
from lightning_monocon.export.lines import Line
from lightning_monocon.functional.relevance import Relevance

Array = NDArray[np.float64]
ROWS, QUERIES, PAIRS, WIDTH = 400, 120, 90, 16


class Plain(nn.Module):
    """An encoder that gives its input."""

    out_features = WIDTH

    def forward(self, rows: Tensor) -> Tensor:
        return rows + 0.0


class Data(NamedTuple):
    """Rows, queries near some of them, graded answers among the neighbours, and graded pairs."""

    gallery: Tensor
    query: Tensor
    relevance: Relevance
    ends: Tensor
    scores: list[float]

    def batches(self, name: str) -> list[tuple[Tensor, Tensor]]:
        """The batches, each row with a label that no other has."""
        rows: Tensor = getattr(self, name)
        labels = torch.arange(len(rows)) + (10_000 if name == "query" else 0)
        return list(zip(rows.split(50), labels.split(50), strict=True))


@pytest.fixture(scope="module")
def data() -> Data:
    generator = torch.Generator().manual_seed(3)
    sizes = torch.linspace(1.5, 0.3, WIDTH)
    gallery = torch.randn(ROWS, WIDTH, generator=generator) * sizes
    place = torch.randperm(ROWS, generator=generator)[:QUERIES]
    query = gallery[place] + 0.4 * torch.randn(QUERIES, WIDTH, generator=generator)
    other = torch.from_numpy(nearest(gallery.numpy(), query.numpy())[:, 4])
    asked = torch.arange(QUERIES - 5)  # five queries have no answer
    second_best = asked[place[asked] != other[asked]]
    relevance = Relevance(
        torch.cat([asked, second_best]),
        torch.cat([place[asked], other[second_best]]),
        torch.cat([torch.full_like(asked, 2), torch.ones_like(second_best)]),
    )
    noise = torch.linspace(0.05, 3, PAIRS)
    first = torch.randn(PAIRS, WIDTH, generator=generator) * sizes
    second = first + noise[:, None] * torch.randn(PAIRS, WIDTH, generator=generator) * sizes
    second[:, -1] = torch.randn(PAIRS, generator=generator) * sizes[-1]  # the last number tells nothing of pairs
    return Data(gallery, query, relevance, torch.stack([first, second], 1).flatten(0, 1), (-noise).tolist())


def headed(width: int) -> MonoCon:
    """The rows under a head of that many random directions; for 0, one number and no more."""
    head = nn.Linear(WIDTH, width or 2)
    with torch.no_grad():
        head.weight.copy_(torch.randn(width or 2, WIDTH, generator=torch.Generator().manual_seed(0)))
        head.bias.zero_()
        if width == 0:
            head.weight[:, :] = 0
            head.weight[0, -1], head.bias[1] = 0.5, 1
    return MonoCon(Plain(), head).eval()


def nearest(gallery: Array, query: Array) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.argsort(-(unit(query) @ unit(gallery).T), axis=1, kind="stable")[:, :10]
    return found


def overlap(found: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(found, reference, strict=True)]))


def answered(found: NDArray[np.int64], relevance: Relevance) -> tuple[float, float]:
    """Mean nDCG@10 and the share of answers among the ten, over queries that have one."""
    gains, shares = [], []
    discount = 1 / np.log2(np.arange(2, 12))
    for query, rows in enumerate(found):
        mine = relevance.query == query
        grades = dict(zip(relevance.row[mine].tolist(), relevance.grade[mine].tolist(), strict=True))
        if not grades:
            continue
        best = np.sort(list(grades.values()))[::-1][:10]
        gains.append(
            sum(grades.get(row, 0) * discount[i] for i, row in enumerate(rows)) / (best @ discount[: len(best)])
        )
        shares.append(len(set(rows) & set(grades)) / len(grades))
    return float(np.mean(gains)), float(np.mean(shares))


def exported(model: MonoCon, data: Data, out: Path, **options: object) -> Export:
    known = Known(**{name: options.pop(name) for name in ("relevance", "pairs") if name in options})  # type: ignore[arg-type]
    settings = {"dim": 8, "forms": [], "known": known, **options}
    return export_model(model, data.batches("gallery"), data.batches("query"), out, **settings)  # type: ignore[arg-type]


def pairs_of(data: Data) -> tuple[list[tuple[Tensor, Tensor]], list[float]]:
    """The pairs as a loader gives them, out of order."""
    order = torch.randperm(2 * PAIRS, generator=torch.Generator().manual_seed(7))
    return list(zip(data.ends[order].split(40), order.split(40), strict=True)), data.scores


@pytest.mark.parametrize("dtype", ["float32", "int8", "binary"])
@pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")
def test_every_figure_is_that_of_numpy(dtype: str, data: Data, tmp_path: Path) -> None:
    model, out = headed(12), tmp_path / "out"
    written = exported(
        model, data, out, dtype=dtype, relevance=data.relevance, pairs=pairs_of(data), dim=8, even_so=True
    )
    given = {"gallery": data.gallery, "query": data.query, "ends": data.ends}
    features = {name: rows.double().numpy() for name, rows in given.items()}
    with torch.no_grad():
        heads = {name: model(rows).double().numpy() for name, rows in given.items()}
    embedder = load(out, encoder=model.encoder)
    step = embedder.calibration.step.double().numpy()
    codes = {name: embedder.calibration.codes(embedder(rows)).numpy() for name, rows in given.items()}
    decode = {
        "float32": lambda code: code,
        "int8": lambda code: code * step,
        "binary": lambda code: 2.0 * np.unpackbits(code, axis=1)[:, :8] - 1,
    }[dtype]
    forms = {
        "encoder": features,
        "encoder, PCA to 8": {name: cut(features["gallery"], rows, 8) for name, rows in features.items()},
        "head, whole": heads,
        "exported": {name: cut(heads["gallery"], rows, 8) for name, rows in heads.items()},
    }
    if dtype != "float32":
        forms[f"exported, {dtype}"] = {name: decode(code) for name, code in codes.items()}
    assert [line.name for line in written.lines] == list(forms)

    by_encoder, by_head = (nearest(rows["gallery"], rows["query"]) for rows in (features, heads))
    for line, rows in zip(written.lines, forms.values(), strict=True):
        ends = unit(rows["ends"].astype(np.float64))
        expected = spearmanr((ends[::2] * ends[1::2]).sum(1).round(10), data.scores).statistic
        assert line.figure("graded", "Spearman") == pytest.approx(expected, abs=1e-3 if "int8" in line.name else 1e-6)
        if "binary" in line.name:
            continue  # bits tie, and a tie has no one answer
        found = nearest(rows["gallery"], rows["query"])
        gain, share = answered(found, data.relevance)
        assert line.figure("qrels", "nDCG@10") == pytest.approx(gain, abs=1e-9)
        assert line.figure("qrels", "answers among the 10") == pytest.approx(share, abs=1e-9)
        assert line.neighbours_kept == pytest.approx(overlap(found, by_encoder), abs=1e-9)
        assert line.figure("neighbours", "overlap@10 with the head") == pytest.approx(overlap(found, by_head), abs=1e-9)
        assert line.first_kept == pytest.approx(float(np.mean(found[:, 0] == by_encoder[:, 0])), abs=1e-9)


def between(lines: tuple[Line, ...], kind: str, name: str) -> float:
    return 100 * (lines[0].figure(kind, name) - lines[-1].figure(kind, name))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")
def test_the_first_line_of_the_card_says_what_is_lost_by_which_truth(data: Data, tmp_path: Path) -> None:
    written = exported(
        headed(12), data, tmp_path / "out", relevance=data.relevance, pairs=pairs_of(data), dtype="int8", even_so=True
    )
    text = (tmp_path / "out" / "README.md").read_text()
    first = text.partition("# Small vectors\n\n")[2].partition("\n\n")[0]
    assert first.startswith("What is lost: by known answers, exported, int8 instead of encoder loses ")
    assert f"loses {between(written.lines, 'qrels', 'nDCG@10'):.2f} points of nDCG@10 (95 % over queries: " in first
    spearman = between(written.lines, "graded", "Spearman")
    words = f"{'loses' if spearman >= 0 else 'gains'} {abs(spearman):.2f} points of Spearman (95 % over pairs: "
    assert f"; by graded pairs, exported, int8 instead of encoder {words}" in first
    assert f" {100 * written.lines[-1].neighbours_kept:.1f} % of the nearest rows that the encoder finds" in first
    assert first.endswith("neighbours measure change, not quality.")
    assert (
        f"{ROWS} gallery rows, {QUERIES} queries, {QUERIES - 5} queries with known answers, {PAIRS} graded pairs"
        in text
    )
    assert "5-NN" not in text

    figures = [(loss.before, loss.after, loss.kind) for loss in written.losses[:4]]
    shipped = ("encoder", "exported, int8")
    cut_off = ("head, whole", "exported")
    assert figures == [(*shipped, "qrels"), (*shipped, "graded"), (*shipped, "neighbours"), (*cut_off, "qrels")]


def test_without_any_truth_the_neighbours_are_asked(data: Data, tmp_path: Path) -> None:
    written = exported(MonoCon(Plain(), "none").eval(), data, tmp_path / "out", dim=16, dtype="int8")
    assert written.doubts == ()
    assert {loss.figure for loss in written.losses} == {"overlap@10 with the encoder"}
    text = (tmp_path / "out" / "README.md").read_text()
    assert "\n\nWhat is lost: nothing but the encoder's own neighbours is known of these rows. 9" in text

    with pytest.warns(DoubtfulExportWarning, match=r"^The head's output finds other neighbours \(a change, which may"):
        exported(headed(12), data, tmp_path / "changed", dim=12)
    fault = r"keep less than half of the encoder's neighbours that the head's whole output has: overlap@10 with the enc"
    with pytest.raises(ValueError, match=fault):
        exported(MonoCon(Plain(), "none").eval(), data, tmp_path / "cut", dim=2)
    with pytest.raises(ValueError, match=r"The head's output is collapsed \(.*: overlap@10 with the encoder is"):
        exported(headed(0), data, tmp_path / "collapsed", dim=1)
    assert not (tmp_path / "collapsed").exists()


@pytest.mark.parametrize(("kind", "figure"), [("qrels", r"nDCG@10 is \d+\.\d %"), ("graded", r"Spearman is -?0\.\d+")])
def test_a_model_is_doubted_by_every_truth(kind: str, figure: str, data: Data, tmp_path: Path) -> None:
    known = {"relevance": data.relevance} if kind == "qrels" else {"pairs": pairs_of(data)}
    with pytest.raises(
        ValueError, match=rf"`model` must make .* The head's output is collapsed \(.*: {figure} and was"
    ):
        exported(headed(0), data, tmp_path / "out", dim=1, **known)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=rf"The exported vectors keep less than half of .*: {figure} and was"):
        exported(MonoCon(Plain(), "none").eval(), data, tmp_path / "out", dim=1, **known)
    assert exported(MonoCon(Plain(), "none").eval(), data, tmp_path / "out", dim=16, **known).doubts == ()


@pytest.mark.parametrize(("kind", "width"), [("qrels", 4), ("graded", 2)])
def test_a_loss_of_more_than_a_point_is_warned_of(kind: str, width: int, data: Data, tmp_path: Path) -> None:
    known = {"relevance": data.relevance} if kind == "qrels" else {"pairs": pairs_of(data)}
    with pytest.warns(DoubtfulExportWarning, match=r"^The head's output is compact, but less accurate \("):
        exported(headed(width), data, tmp_path / "out", dim=width, **known, even_so=True)


def test_a_truth_by_which_the_encoder_has_no_skill_refuses_nothing(data: Data, tmp_path: Path) -> None:
    batches, scores = pairs_of(data)
    drawn = torch.randperm(PAIRS, generator=torch.Generator().manual_seed(1)).tolist()
    pairs = batches, [scores[place] for place in drawn]
    with pytest.warns(
        DoubtfulExportWarning, match=r"^Graded pairs say nothing of these vectors, .*: Spearman is -?0\."
    ):
        exported(headed(8), data, tmp_path / "out", pairs=pairs)


def test_relevant_rows_are_sampled_first_and_known_by_their_places(data: Data) -> None:
    loader = DataLoader(TensorDataset(data.gallery, torch.arange(ROWS)), batch_size=30)
    first = torch.tensor([3, 77, 399])
    found = embed_rows(headed(4), loader, 20, first=first)
    assert len(found.places) == 20
    assert torch.isin(first, found.places).all()
    torch.testing.assert_close(found.features, data.gallery[found.places], rtol=0, atol=0)
    assert found.labels.equal(found.places)
    assert found.sampled_at(torch.tensor([399, 3])).tolist() == [19, found.places.tolist().index(3)]
    assert not torch.isin(first, embed_rows(headed(4), loader, 20).places).all()


def test_queries_that_lose_an_answer_to_the_sample_are_left_out(data: Data, tmp_path: Path) -> None:
    written = exported(
        MonoCon(Plain(), "none").eval(), data, tmp_path / "a", relevance=data.relevance, dim=16, sample=300
    )
    assert len(written.lines[0].values["qrels"]["nDCG@10"]) == QUERIES - 5, "there is room for all answers"
    few = exported(MonoCon(Plain(), "none").eval(), data, tmp_path / "b", relevance=data.relevance, dim=16, sample=110)
    judged = few.lines[0].values["qrels"]["nDCG@10"]
    assert 0 < len(judged) < 110
    assert float(judged.mean()) > 0.5


def test_a_loader_that_shuffles_knows_no_places(data: Data, tmp_path: Path) -> None:
    shuffled = DataLoader(TensorDataset(data.gallery, torch.arange(ROWS)), batch_size=30, shuffle=True)
    with pytest.raises(ValueError, match=r"must have samplers whose order is known"):
        export_model(
            headed(4), shuffled, data.batches("query"), tmp_path / "out", dim=2, forms=[], known=Known(data.relevance)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((0, ROWS), f"name rows by .* there are {ROWS}; got {ROWS}"),
        ((QUERIES, 0), f"name queries by .* {QUERIES}; got"),
    ],
    ids=["row", "query"],
)
def test_answers_of_other_data_are_refused(place: tuple[int, int], words: str, data: Data, tmp_path: Path) -> None:
    wrong = Relevance(torch.tensor([place[0]]), torch.tensor([place[1]]), torch.tensor([1]))
    with pytest.raises(ValueError, match=rf"`relevance` must {words}"):
        exported(headed(4), data, tmp_path / "out", relevance=wrong)
    nothing = Relevance(torch.tensor([1]), torch.tensor([1]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"`relevance` must name a relevant row for at least one query"):
        exported(headed(4), data, tmp_path / "out", relevance=nothing)


def test_pairs_that_do_not_fit_are_refused(data: Data, tmp_path: Path) -> None:
    batches, scores = pairs_of(data)
    for wrong, words in (
        ((batches[1:], scores), rf"have the rows of pair i labelled .* {2 * PAIRS} rows for {PAIRS} grades; got"),
        ((batches, scores[1:]), r"have the rows of pair i labelled"),
        ((batches, [1.0] * PAIRS), r"have finite grades, at least two different ones"),
        ((batches, [float("nan"), *scores[1:]]), r"have finite grades"),
    ):
        with pytest.raises(ValueError, match=rf"`pairs` must {words}"):
            exported(headed(4), data, tmp_path / "out", pairs=wrong)
    assert list(tmp_path.iterdir()) == []
