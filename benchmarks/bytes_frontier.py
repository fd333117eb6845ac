# SPDX-License-Identifier: Apache-2.0
"""Compare codes of 2 to 192 bytes, and heads below them, on real vectors, and write docs/research/bytes.md.

Run    python benchmarks/bytes_frontier.py --data DATA --scratch FOLDER
DATA holds snli, stsb, cifar100 and fashion_mnist. Every finished run (vectors, objective, head, seed) is a line of
results/bytes.jsonl and is not made again, so a command that was killed resumes; delete the file to measure again.
FOLDER keeps the vectors, and what each query found without a head, which runs with one are compared with.
At the end, or with --tables alone, the tables of the page are written from those lines.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bytes_heads import HEADS, Objective, trained
from bytes_page import RUNS, Run, finished, key_of, write_page
from bytes_tasks import CHOOSING, Domain, load
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.candidates import BUDGETS, FAMILIES, Family, candidates

SEEDS = (0, 1, 2)
BELOW_A_HEAD = ("transform", "scalar2", "scalar4")
BELOW = tuple(each for each in FAMILIES if each.name in BELOW_A_HEAD)
"""Families in which heads are compared, and so is no head where it is their rival."""

COSTLY: dict[str, Callable[[int, int], bool]] = {
    "product": lambda dim, size: size <= 64,
    "pq": lambda dim, size: not dim % size,
    "opq": lambda dim, size: not dim % size,
    "residual": lambda dim, size: size <= (64 if dim < 1000 else 48),
    "lsq": lambda dim, size: size <= (32 if dim < 1000 else 16),
}
"""The largest codes of the families that take 5 seconds and more to fit; `monocon shrink` tries fewer of some."""

WIDER = tuple(replace(each, allows=COSTLY.get(each.name, each.allows), costly="") for each in FAMILIES)
"""The families of `monocon shrink`, some of them at more sizes; on clothes, for want of time, at its own sizes."""

COMPARED: tuple[tuple[str, Objective], ...] = (
    ("images", "labels"),
    ("sentences", "neighbours"),
    ("clothes", "labels"),
    ("images", "neighbours"),
    ("clothes", "neighbours"),
)
"""Vectors and what heads are trained for."""

Key = tuple[str, Objective, str, int]
"""Vectors, objective, head and seed."""

Hits = dict[str, dict[int, Tensor]]
"""By truth and bytes, the quality of each query."""


def plan() -> Iterator[Key]:
    """Yield the runs; no head comes before the heads, which are compared with its first seed."""
    for seed in SEEDS:
        yield from ((vectors, "none", "none", seed) for vectors in ("sentences", "images", "clothes"))
    for vectors, objective in COMPARED:
        for seed in SEEDS:
            yield from ((vectors, objective, head, seed) for head in HEADS if head != "none")


def run(domain: Domain, key: Key, scratch: Path) -> Run:
    """Train one head, fit the codes of all sizes on its outputs, and judge them on every truth."""
    before = time.process_time()
    _, objective, name, seed = key
    head, rivals = trained(domain, name, objective, seed), _rivals(key, scratch)
    with torch.inference_mode():
        outputs = head(domain.fit)
        whole = domain.judge(normalize, normalize)
        floats = domain.judge(lambda rows: normalize(head(rows)), lambda rows: normalize(head(rows)))
    sizes: dict[int, dict[str, Any]] = {}
    kept: Hits = {truth: {} for truth in whole}
    families = BELOW if name != "none" else FAMILIES if domain.name == "clothes" else WIDER
    for size, codes in fitted(outputs.clone(), families, seed):
        judged = {code: judge(domain, head, codec) for code, codec in codes.items()}
        sizes[size] = {}
        for truth in whole:
            entry, best = compared(judged, truth)
            shared = {code: hits for code, hits in judged.items() if code.split("-")[0] in BELOW_A_HEAD}
            kept[truth][size] = own = compared(shared, truth)[1]
            entry |= {"whole": lead(best, whole[truth], truth), "shared": mean(own, truth)}
            if size in rivals.get(truth, {}):
                entry |= {"none": lead(own, rivals[truth][size], truth)}
            if name == "none":
                entry |= {"scorings": {code: mean(hits[truth], truth) for code, hits in judged.items()}}
            sizes[size][truth] = entry
    torch.save(kept, evidence(key, scratch))
    return {
        **dict(zip(("vectors", "objective", "head", "seed"), key, strict=True)),
        **{"numbers": outputs.shape[1], "rows": len(domain.fit), "queries": len(domain.query) - CHOOSING},
        "whole": {truth: mean(hits, truth) for truth, hits in whole.items()},
        "float": {truth: mean(hits, truth) for truth, hits in floats.items()},
        **{"cpu_seconds": round(time.process_time() - before), "sizes": sizes},
    }


def fitted(outputs: Tensor, families: Sequence[Family], seed: int) -> Iterator[tuple[int, dict[str, Codec]]]:
    """Yield bytes and the codes of a head's outputs ``(N, D)``, one for every way to score that may matter.

    Names are family, bytes and scoring, such as ``"transform-32-centred"``.
    """
    rows = FittingRows.of(outputs, seed=seed)
    for size in BUDGETS:
        usable = [each for each in families if each.allows(rows.dim, size)]
        if usable:
            found = candidates(rows.dim, len(outputs), usable, [size])[0]
            yield size, {f"{each.name}-{codec.space.scoring}": codec for each in found for codec in each.fitted(rows)}


def judge(domain: Domain, head: nn.Module, codec: Codec) -> dict[str, Tensor]:
    with torch.inference_mode():
        return domain.judge(
            lambda rows: codec.decode(codec.encode(head(rows).clone())),
            lambda rows: codec.space.queries(head(rows).clone()),
        )


def compared(judged: dict[str, dict[str, Tensor]], truth: str) -> tuple[dict[str, Any], Tensor]:
    """Choose the best code on the choosing queries, and return what each family is worth on the others.

    Returns:
        For every family its quality, how far the chosen code is ahead of it, and the standard error of that; and the
        qualities of the chosen code ``(U,)``. For pairs, which are another domain, the neighbours at home choose.
    """
    home = "neighbours" if truth == "pairs" else truth
    order = sorted(judged, key=lambda code: -float(judged[code][home][:CHOOSING].mean()))
    families: dict[str, str] = {}
    for code in order:
        families.setdefault(code.split("-")[0], code)
    best = judged[order[0]][truth]
    codes = {
        family: [mean(judged[code][truth], truth), *lead(best, judged[code][truth], truth)]
        for family, code in families.items()
    }
    return {"chosen": order[0], "codes": codes}, best


def lead(ours: Tensor, theirs: Tensor, truth: str) -> list[float]:
    """Return the mean difference over the judging queries, and its standard error."""
    ahead = _judging(ours - theirs, truth)
    return [round(float(ahead.mean()), 5), round(float(ahead.std() / len(ahead) ** 0.5), 5)]


def mean(hits: Tensor, truth: str) -> float:
    return round(float(_judging(hits, truth).mean()), 5)


def _judging(hits: Tensor, truth: str) -> Tensor:
    return hits if truth == "pairs" else hits[CHOOSING:]


def evidence(key: Key, scratch: Path) -> Path:
    """Return where the qualities of the chosen codes of a run are kept for later runs to be compared with."""
    return scratch / ("-".join(map(str, key)) + ".pt")


def _rivals(key: Key, scratch: Path) -> Hits:
    found: Hits = {} if key[2] == "none" else torch.load(evidence((key[0], "none", "none", SEEDS[0]), scratch))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with snli, stsb, cifar100 and fashion_mnist")
    parser.add_argument("--scratch", type=Path, default=Path("bytes"), help="where vectors and evidence are kept")
    parser.add_argument("--rows", type=int, default=5000, help="vectors to fit on, and to search")
    parser.add_argument("--queries", type=int, default=2000, help="queries to judge on, besides those to choose on")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so long")
    parser.add_argument(
        "--tables", action="store_true", help="run nothing: write the page from the runs that are there"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, domains = time.monotonic(), dict[str, Domain]()
    for key in () if options.tables else plan():
        if key in {key_of(line) for line in finished()} or time.monotonic() - started > 60 * options.minutes:
            continue
        if key[0] not in domains:
            domains = {key[0]: load(key[0], options.data, options.scratch, options.rows, options.queries)}
        line = run(domains[key[0]], key, options.scratch)
        with RUNS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(
            *key,
            line["cpu_seconds"],
            {b: {t: e["chosen"] for t, e in s.items()} for b, s in line["sizes"].items()},
            flush=True,
        )
    print(write_page())


if __name__ == "__main__":
    main()
