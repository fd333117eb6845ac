# SPDX-License-Identifier: Apache-2.0
"""The targets G1 to G12 of the kernels: what is asked, what was found, and whether it is met.

    python benchmarks/gpu_targets.py [--minutes 5] [--device cuda]

Stages run in turn until the minutes are over, those first whose figures are not known yet; after each of them
results/DATE-gpu_targets.{md,json} is written again, so that a run that is cut off loses one stage. ``--device cpu``
runs what needs no card, at small shapes, to see that the stages work; its figures say nothing of a card.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

import kernels_head
import kernels_loss
import torch
from harness import Row, compile_modes, interleaved, middle, peak_megabytes, ratio, write
from kernels_loss import CLASSES, TEMPERATURE, dense
from kernels_replay import Rotation, add_replay
from torch import Tensor
from torch.nn import functional as F

from lightning_monocon.heads import MonotonicMLP
from lightning_monocon.losses import SupConLoss

ROUNDS, COMPILED = 10, "compiled"

Found = tuple[list[Row], list[Row]]
"""What a stage measured, and what that says of its targets."""


def target(name: str, found: float | None, least: float | None = None, most: float | None = None) -> Row:
    """Return a line of the table of targets; what was not measured is neither met nor missed."""
    asked = f"at least {least:g}" if least is not None else f"at most {most:g}"
    met = found is not None and (found >= least if least is not None else most is not None and found <= most)
    return {
        "target": name,
        "asked": asked,
        "found": "not measured" if found is None else f"{found:.3g}",
        "met": "" if found is None else "yes" if met else "no",
    }


def smallest(rows: Sequence[Row], column: str, peer: str, ending: str = "") -> float | None:
    """Return the smallest figure of a column among peers whose names begin and end so; None if there is none."""
    names = [(str(row["peer"]), row) for row in rows if column in row]
    found = [middle(row[column]) for name, row in names if name.startswith(peer) and name.endswith(ending)]
    return min(found, default=None)


def step_rows(rows: int, dim: int, device: str) -> list[Row]:
    """Return the times of the authors' step (head, unit length, loss) and of ours, forward and backward."""
    head = MonotonicMLP(dim, num_layers=1).to(device)
    x, labels = torch.randn(rows, dim, device=device), torch.randint(CLASSES, (rows,), device=device)
    plain, loss = kernels_head.Formula(head), SupConLoss(TEMPERATURE, normalize=False)

    def whole(features: Callable[[Tensor], Tensor], contrast: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
        return contrast(F.normalize(features(x), dim=1), labels)

    eager = partial(whole, plain, dense)
    peers = {"eager": eager, "ours": partial(whole, head, loss)}
    torch.compiler.reset()
    for mode in compile_modes(quick=True):
        peers[f"{COMPILED} {mode}"] = torch.compile(eager, dynamic=False, mode=mode)
    leaves = list(head.parameters())
    steps = {
        name: Rotation([lambda peer=peer: torch.autograd.grad(peer(x), leaves)])  # type: ignore[misc]
        for name, peer in peers.items()
    }
    times = interleaved(dict(steps), ROUNDS, device, warm_up=1 if device == "cpu" else 25)
    table: list[Row] = [
        {"N": rows, "D": dim, "peer": name, "ms": median(times[name]) * 1e3, "peer / ours": ratio(times, name, "ours")}
        for name in steps
    ]
    if device == "cuda":
        add_replay(table, steps)
    return table


def whole_step(device: str) -> Found:
    """G4 and G5."""
    rows = step_rows(256, 512, device)
    device_column = "device, peer / ours"
    return rows, [
        target("G4, step of 256 x 512, eager / ours", smallest(rows, "peer / ours", "eager"), least=2.5),
        target("G4, compiled default / ours", smallest(rows, "peer / ours", f"{COMPILED} default"), least=1.0),
        target("G5, device, eager / ours", smallest(rows, device_column, "eager"), least=3.0),
        target("G5, device, compiled / ours", smallest(rows, device_column, f"{COMPILED} reduce"), least=1.15),
    ]


def loss(device: str) -> Found:
    """G1, and of G2 the time in units of two bare products."""
    rows, dim = (8192, 512) if device == "cuda" else (1024, 512)
    found = kernels_loss.measure(kernels_loss.checked(device, quick=True)[0], rows, dim, device)
    wall = partial(smallest, found, "peer / ours")
    floor = smallest(found, "device, peer / ours", "two fp16 GEMMs")
    return found, [
        target(f"G1, loss of {rows} x {dim}, eager / ours", wall("eager", "eager"), least=15),
        target("G1, eager tf32 / ours", wall("eager, tf32"), least=9),
        target("G1, compiled tf32 / ours", wall(COMPILED, "tf32"), least=3),
        target("G1, compiled amp / ours", wall(COMPILED, "amp"), least=1.6),
        target("G2, device, ours / two fp16 products", None if floor is None else 1 / floor, most=1.9),
    ]


def head(sizes: Sequence[tuple[int, int]], kind: str, device: str) -> list[Row]:
    """Return the head's lines at sizes of rows and features, one layer."""
    return [kernels_head.compare(rows, features, 1, kind, device, True) for rows, features in sizes]


def small_heads(device: str) -> Found:
    """G6."""
    lines = head([(256, 512), (1024, 512)], "bfloat16", device)
    asked = zip(lines, (1.5, 1.1), strict=True)
    return lines, [target(f"G6, head of {x['rows']}, compiled / ours", _beaten(x), least=limit) for x, limit in asked]


def large_heads(device: str) -> Found:
    """G7."""
    lines = head([(4096, 768), (8192, 1024)] if device == "cuda" else [(1024, 384)], "bfloat16", device)
    return lines, [target(f"G7, head of {x['rows']}, compiled / ours", _beaten(x), least=1.05) for x in lines]


def exact_heads(device: str) -> Found:
    """G8."""
    lines = head([(4096, 768)] if device == "cuda" else [(1024, 384)], "float32", device)
    line = lines[0]
    worse = float(str(line["error ours"])) / float(str(line["error eager"]))
    return lines, [
        target("G8, head of float32, eager / ours", middle(line["eager / ours"]), least=1.7),
        target("G8, error, ours / eager", worse, most=2),
    ]


def _beaten(line: Row) -> float:
    return middle(line[f"{COMPILED} / ours"])


def large_losses(device: str) -> Found:
    """The rest of G2, and G3."""
    found: list[Row] = []
    ours = kernels_loss.peers(device, quick=True)["ours"]
    for rows in (32768, 131072) if device == "cuda" else (4096,):
        run = kernels_loss.step(ours, *kernels_loss.batch(rows, 512, device))
        times = interleaved({"ours": run}, 3, device, warm_up=1)
        found.append({"N": rows, "D": 512, "ms": median(times["ours"]) * 1e3, "MB": peak_megabytes(run, device)})
    return found, [
        target("G2, loss of 32 768 x 512, ms", _of(found, 32768, "ms"), most=5.3),
        target("G3, its memory, MB", _of(found, 32768, "MB"), most=500),
        target("G3, memory of 131 072 rows, MB", _of(found, 131072, "MB"), most=1024),
    ]


def _of(rows: Sequence[Row], count: int, column: str) -> float | None:
    return next((float(str(row[column])) for row in rows if row["N"] == count), None)


def repeated(device: str) -> Found:
    """G12: the share of runs whose bits are those of the first."""
    peer = kernels_loss.peers(device, quick=True)["ours"]
    features = torch.randn(4096, 512, device=device, requires_grad=True)
    model = MonotonicMLP(512, num_layers=1).to(device)
    of_head = kernels_head.step(model, model, features, torch.randn(4096, 512, device=device), "float32")
    of_loss = kernels_loss.step(peer, *kernels_loss.batch(4096, 512, device))
    found = [{"what": "loss", "equal": _equal(lambda: [of_loss()])}, {"what": "head", "equal": _equal(of_head)}]
    return found, [target(f"G12, equal runs of the {x['what']}", float(str(x["equal"])), least=1) for x in found]


def _equal(run: Callable[[], Sequence[object]], times: int = 10) -> float:
    def bits() -> list[Tensor]:
        return [x for x in run() if isinstance(x, Tensor)]

    first = bits()
    same = [all(torch.equal(a, b) for a, b in zip(first, bits(), strict=True)) for _ in range(times)]
    return sum(same) / times


def on_the_cpu(_: str) -> Found:
    """G9 to G11, on this machine's processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    right = kernels_loss.checked("cpu", quick=True)[0]
    found = [row for dim in (128, 512) for row in kernels_loss.measure(right, 4096, dim, "cpu")]
    line = kernels_head.compare(1024, 512, 1, "float32", "cpu", True)
    torch.set_num_threads(threads)
    rows = [[row for row in found if row["D"] == dim] for dim in (128, 512)]
    targets = [
        target(f"G9, CPU, loss of 4096 x {dim}, {peer} / ours", smallest(own, "peer / ours", peer), least=limit)
        for dim, own, limits in zip((128, 512), rows, ((5.0, 2.2), (2.4, 1.6)), strict=True)
        for peer, limit in zip(("eager", COMPILED), limits, strict=True)
    ]
    return found, [*targets, target("G11, CPU, head, eager / ours", middle(line["eager / ours"]), least=0.98)]


STAGES: dict[str, Callable[[str], Found]] = {
    "Head, unit length and loss": whole_step,
    "Head, small": small_heads,
    "Head, large": large_heads,
    "Loss, large": large_losses,
    "Runs that are equal": repeated,
    "Head, float32": exact_heads,
    "Loss": loss,
    "On the CPU": on_the_cpu,
}


def tables(device: str, minutes: float) -> Iterator[dict[str, list[Row]]]:
    """Yield all tables after each stage."""
    start, targets, found = time.monotonic(), list[Row](), dict[str, list[Row]]()
    for name, stage in STAGES.items():
        if time.monotonic() - start > 60 * minutes:
            targets.append({"target": name, "asked": "", "found": "not measured: the minutes are over", "met": ""})
        else:
            try:
                found[name], own = stage(device)
            except (RuntimeError, torch.cuda.OutOfMemoryError) as error:  # one stage must not cost the others
                own = [{"target": name, "asked": "", "found": f"failed: {str(error).splitlines()[0]}", "met": "no"}]
            targets += own
        yield {"Targets": targets, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="start no stage after so long")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    for found in tables(options.device, options.minutes):
        print(write(f"gpu_targets_{options.device}", f"Targets of the kernels ({options.device})", found), flush=True)


if __name__ == "__main__":
    main()
