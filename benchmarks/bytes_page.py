# SPDX-License-Identifier: Apache-2.0
"""Write the tables of docs/research/bytes.md from the runs of bytes_frontier.py, and draw its figure.

A table says what is beyond noise by two intervals, both of 95 %: over queries, paired (the standard errors of the
seeds, averaged, which is at least that of their mean), and over seeds by Student's t where three were run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from learnt_code import ARMS, CODED, FLOATS, WHOLE, lines_of
from learnt_code import finished as labelled

from lightning_monocon.codes.candidates import BUDGETS
from lightning_monocon.scorecard.render.figures.style import dimension_axis, line_style, new_figure

RUNS = Path(__file__).parent / "results" / "bytes.jsonl"
DOCS = Path(__file__).parents[1] / "docs"
PAGE, FIGURE = DOCS / "research" / "bytes.md", DOCS / "figures" / "bytes.png"

Run = dict[str, Any]
Codes = dict[str, list[float]]
"""By family: its quality, how far the chosen code is ahead, and the standard error of that."""

NORMAL, STUDENT = 1.96, {2: 12.706, 3: 4.303}
FAMILIES = {
    "product": "product",
    "transform": "transform",
    "scalar1": "1 bit, rotated",
    "scalar2": "2 bits, rotated",
    "scalar4": "4 bits, rotated",
    "int8": "int8",
    "rabit1": "RaBitQ, 1 bit",
    "rabit2": "RaBitQ, 2 bits",
    "pq": "PQ",
    "opq": "OPQ",
    "residual": "residual",
    "lsq": "LSQ",
}
HEADS = {
    "none": "no head",
    "mlp": "MLP",
    "linear": "linear",
    "matryoshka": "Matryoshka, linear",
    "monotonic-identity": "monotonic, identity",
    "monotonic-reference": "monotonic, reference",
    "monotonic-lognormal": "monotonic, log-normal",
}
TRUTHS = {
    ("sentences", "neighbours"): "Sentences: recall@10 of the whole vectors' neighbours",
    ("sentences", "pairs"): "Sentences, second domain: Spearman's correlation on STS-B",
    ("images", "labels"): "Images: 5-NN accuracy",
    ("images", "neighbours"): "Images: recall@10 of the whole vectors' neighbours",
    ("clothes", "labels"): "Clothes: 5-NN accuracy",
    ("clothes", "neighbours"): "Clothes: recall@10 of the whole vectors' neighbours",
}

_THEN_CODED, _TOGETHER, _MONOTONIC = ARMS
DRAWN = {
    "the encoder's vectors": {CODED: 8, WHOLE: 5120},
    "MLP head": {_THEN_CODED: 8, FLOATS[_THEN_CODED]: 256},
    "monotonic head": {_MONOTONIC: 8},
}
"""The arms of learnt_code.py in the figure, and their bytes."""


def finished() -> list[Run]:
    """Return the runs that were made."""
    return [json.loads(line) for line in RUNS.read_text(encoding="utf-8").splitlines()] if RUNS.exists() else []


def key_of(line: Run) -> tuple[Any, ...]:
    """Return vectors, objective, head and seed of a run."""
    return tuple(line[name] for name in ("vectors", "objective", "head", "seed"))


def write_page() -> Path:
    """Put every table between its marks in the page, and draw the figure."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables(finished())), encoding="utf-8")
    draw(finished())
    return PAGE


def filled(text: str, named: Iterable[tuple[str, str]]) -> str:
    """Return the text of a page with each table between its marks, if it has them."""
    for name, table in named:
        parts = re.split(f"(<!-- (?:end of )?{name} -->)", text)
        if len(parts) == 5:
            text = "".join([*parts[:2], f"\n{table}\n", *parts[3:]])
    return text


def tables(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield the name and the Markdown of each table."""
    for vectors, truth in TRUTHS:
        of_vectors = [run for run in runs if run["vectors"] == vectors]
        bare = [run for run in of_vectors if run["head"] == "none"]
        if bare:
            yield f"codes {vectors} {truth}", codes_table(bare, truth)
        for objective in ("labels", "neighbours"):
            trained = [run for run in of_vectors if run["objective"] == objective]
            if trained:
                rival = [run for run in bare if run["seed"] == 0]  # the heads' leads are over its codes
                yield f"heads {vectors} {truth} {objective}", heads_table([*rival, *trained], truth)
    sentences = [run for run in runs if (run["vectors"], run["head"]) == ("sentences", "none")]
    if sentences:
        yield "scorings", scorings_table(sentences)
    yield "runs", runs_table(runs)


def codes_table(runs: Sequence[Run], truth: str) -> str:
    """Return families by bytes: bold the one that most seeds chose, and ~ what is not beyond noise of it."""
    families = [name for name in FAMILIES if any(name in _codes(run, size, truth) for run in runs for size in BUDGETS)]
    head = ["bytes", *(FAMILIES[name] for name in families)]
    lines = []
    for size in BUDGETS:
        codes = [found for run in runs if (found := _codes(run, size, truth))]
        chosen = Counter(name for found in codes for name, code in found.items() if not any(code[1:]))
        ((best, _),) = chosen.most_common(1)
        lines.append([str(size), *(_code_cell(name, codes, best, truth) for name in families)])
    return markdown(head, lines)


def _code_cell(name: str, codes: Sequence[Codes], best: str, truth: str) -> str:
    """Return the mean over seeds, and whether it is level with that of the best family."""
    values = [found[name][0] for found in codes if name in found]
    if not values:
        return ""
    value = _number(fmean(values), truth) + ("¹" if len(values) == 1 < len(codes) else "")
    if name == best:
        return f"**{value}**"
    both = [(found[name], found[best]) for found in codes if name in found and best in found]
    # each run compared both with the family that it chose itself; two errors bound that of a difference
    leads, errors = [other[1] - own[1] for other, own in both], [other[2] + own[2] for other, own in both]
    return value if beyond(leads, errors) else f"{value} ~"


def beyond(leads: Sequence[float], errors: Sequence[float]) -> bool:
    """Return whether the mean of paired leads is more than noise, over queries and over seeds."""
    return abs(fmean(leads)) > max(NORMAL * fmean(errors), over_seeds(leads))


def over_seeds(leads: Sequence[float]) -> float:
    """Return half of the 95 % interval of the mean over seeds; 0 for one seed, which shows none."""
    count = len(leads)
    return STUDENT[count] * stdev(leads) / count**0.5 if count > 1 else 0.0


def heads_table(runs: Sequence[Run], truth: str) -> str:
    """Return heads by bytes, each in the code that its choosing queries chose, against no head with its best code."""
    heads = [name for name in HEADS if any(run["head"] == name for run in runs)]
    head = ["bytes", *(HEADS[name] for name in heads)]
    lines = []
    for size in BUDGETS:
        cells = [_head_cell([run for run in runs if run["head"] == name], size, truth) for name in heads]
        lines.append([str(size), *cells])
    floats = [_number(fmean(r["float"][truth] for r in runs if r["head"] == name), truth) for name in heads]
    return markdown(head, [*lines, ["float32", *floats]])


def _head_cell(runs: Sequence[Run], size: int, truth: str) -> str:
    entries = [run["sizes"][str(size)][truth] for run in runs if str(size) in run["sizes"]]
    if not entries:
        return ""
    value = _number(fmean(entry["shared"] for entry in entries), truth)
    against = [entry["none"] for entry in entries if "none" in entry]
    if not against:
        return value
    leads, errors = [each[0] for each in against], [each[1] for each in against]
    sign = _signed(fmean(leads), truth)
    width = _number(max(NORMAL * fmean(errors), over_seeds(leads)), truth)
    return (
        f"**{value}** ({sign} ± {width})"
        if beyond(leads, errors) and fmean(leads) > 0
        else f"{value} ({sign} ± {width})"
    )


def _codes(run: Run, size: int, truth: str) -> Codes:
    codes: Codes = run["sizes"].get(str(size), {}).get(truth, {}).get("codes", {})
    return codes


def scorings_table(runs: Sequence[Run]) -> str:
    """Return what codes scored as they are, and about the mean, are worth on pairs of another domain."""
    names, ways = ("product", "transform", "scalar2"), {"as it is": "whole", "about the mean": "centred"}
    lines = []
    for size in BUDGETS:
        found = [run["sizes"][str(size)]["pairs"]["scorings"] for run in runs]
        codes = [f"{name}-{size}-{way}" for name in names for way in ways.values()]
        values = [[each[code] for each in found if code in each] for code in codes]
        lines.append([str(size), *(_number(fmean(each), "pairs") if each else "" for each in values)])
    return markdown(["bytes", *(f"{FAMILIES[name]}, {way}" for name in names for way in ways)], lines)


def runs_table(runs: Sequence[Run]) -> str:
    """Return what was run."""
    head = ["vectors", "head trained", "head", "seeds", "numbers", "CPU s a run"]
    lines = []
    for vectors, objective, name in dict.fromkeys(key_of(run)[:3] for run in runs):
        own = [run for run in runs if key_of(run)[:3] == (vectors, objective, name)]
        trained = {"none": "", "labels": "with labels", "neighbours": "to keep neighbours"}[objective]
        seeds = ", ".join(sorted(str(run["seed"]) for run in own))
        cost = f"{fmean(run['cpu_seconds'] for run in own):.0f}"
        lines.append([vectors, trained, HEADS[name], seeds, str(own[0]["numbers"]), cost])
    return markdown(head, lines)


def draw(runs: Sequence[Run]) -> None:
    """Draw the accuracy of images against bytes, with and without a head, and codes of sentences by neighbours."""
    figure, (left, right) = new_figure(columns=2, width=11.0, height=4.6)
    accuracy = {str(line["arm"]): float(str(line["5-NN %"])) for line in lines_of(labelled())}
    for place, (name, arms) in enumerate(DRAWN.items()):
        left.plot(list(arms.values()), [accuracy[arm] for arm in arms], label=name, **line_style(place))
    dimension_axis(left, [8, 64, 256, 1024, 5120], "bytes per vector")
    left.set_title("CIFAR-100: 5-NN accuracy in %; heads: three seeds", fontsize=10)
    left.legend(frameon=False, loc="center right")

    bare = [run for run in runs if (run["vectors"], run["head"]) == ("sentences", "none")]
    for place, name in enumerate(("product", "transform", "scalar1", "scalar2", "scalar4", "int8", "pq", "residual")):
        found = {
            size: [c[name][0] for run in bare if name in (c := _codes(run, size, "neighbours"))] for size in BUDGETS
        }
        points = [(size, fmean(values)) for size, values in found.items() if values]
        right.plot(*zip(*points, strict=True), label=FAMILIES[name], **line_style(place))
    dimension_axis(right, list(BUDGETS), "bytes per vector")
    right.set_title("Sentences of SNLI: recall@10 of the whole vectors' neighbours", fontsize=10)
    right.legend(frameon=False, loc="lower right")
    figure.savefig(FIGURE, dpi=110)


def _number(value: float, truth: str) -> str:
    return f"{100 * value:.1f}" if truth == "labels" else f"{value:.3f}".lstrip("0")


def _signed(value: float, truth: str) -> str:
    return ("+" if value >= 0 else "-") + _number(abs(value), truth)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))
