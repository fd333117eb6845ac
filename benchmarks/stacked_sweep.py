# SPDX-License-Identifier: Apache-2.0
"""Measure what a sweep would gain if the runs of several seeds were trained as one stacked model.

Run    python benchmarks/stacked_sweep.py [--rounds 3]
Does   times, on one thread and in CPU time, each part in a fresh process and in turn: the bare step of the recipe's
       model, alone and of K models stacked by `torch.func` (`stack_module_state`, `functional_call` under `vmap`, one
       AdamW); a step of `monocon fit`, with the start and the end of a run; the same with the arithmetic taken out,
       which is what a `Trainer` and its callbacks cost by themselves; and a step of K runs of `monocon fit` in
       lockstep, a thread and a `Trainer` each, whose batches go through one stacked step. For one `Trainer` that served
       all K, which does not exist, it computes the most that could be gained: as if its members shared all that a
       `Trainer` and callbacks cost. Then it trains seeds of each case stacked and one by one on the same batches
       and compares weights and accuracies; writes results/DATE-stacked-sweep.md
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any, NamedTuple, cast

import torch
from grokking_step import step_moments
from harness import Row, in_fresh_process, interleaved, write
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

TINY = {"data.modulus": 14, "data.train_share": 0.41, "model.encoder.modulus": 14, "model.encoder.width": 32}
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "80 pairs, width 32": ("grokking", {**TINY, "model.out_features": 14}),
    "recipe parity": ("parity", {}),
    "recipe grokking": ("grokking", {}),
}
STACKS = (3, 8, 16, 32)
IN_LOCKSTEP = (3, 8)
FIRST, LAST = 100, 500
STEPS = 2500
"""The length of a whole run, that of the recipe grokking."""
MARKS = (200, 1000)
SEEDS = {"80 pairs, width 32": 8, "recipe parity": 8, "recipe grokking": 3}

Batch = tuple[Tensor, ...]


def words(case: str) -> list[str]:
    """Return the words of `monocon fit` for a case."""
    recipe, options = CASES[case]
    given = {**options, "report": "false", "trainer.enable_progress_bar": "false"}
    given["trainer.enable_model_summary"] = "false"
    return ["fit", "--config", recipe, *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


def built(case: str, seed: int, *more: str) -> Any:  # noqa: ANN401  # a command line, with its model and data
    """Return trainer, model and data of a case, as `monocon fit` builds them."""
    from lightning_monocon.cli.trainer import BuiltCLI, run

    found = run([*words(case), "--seed_everything", str(seed), *more], BuiltCLI)
    found.datamodule.setup("fit")
    return found


def batches(data: Any, seed: int) -> Iterator[Batch]:  # noqa: ANN401  # either data module
    """Yield batches of train rows drawn with a seed; all rows where the data module takes them all."""
    tensors, size = data.train.tensors, getattr(data, "batch_size", None)
    order = torch.Generator().manual_seed(seed)
    while True:
        rows = torch.randperm(len(tensors[0]), generator=order)[:size] if size else slice(None)
        yield tuple(each[rows] for each in tensors)


def optimizer(model: Any, weights: Any) -> torch.optim.Optimizer:  # noqa: ANN401  # `MonoCon`; parameters
    """Return the optimizer of the recipes: one rate and one decay for encoder and head."""
    plan = model.schedule
    return torch.optim.AdamW(weights, lr=plan.lr_encoder, weight_decay=plan.weight_decay)


def alone(model: Any) -> Callable[[Batch], None]:  # noqa: ANN401  # `MonoCon`
    """Return the bare step of one model."""
    adam = optimizer(model, model.parameters())

    def step(batch: Batch) -> None:
        adam.zero_grad()
        model.loss(model(batch[0]), batch[1]).backward()
        adam.step()

    return step


def stacked(models: list[Any]) -> tuple[dict[str, Tensor], Callable[[list[Batch]], Tensor]]:
    """Return the stacked weights of models of one shape, and the step that trains them all and returns their losses."""
    blank = copy.deepcopy(models[0]).to("meta")
    weights = {name: value.detach().clone().requires_grad_() for name, value in stack_module_state(models)[0].items()}
    adam = optimizer(blank, weights.values())

    def loss(weights: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        return cast(Tensor, blank.loss(functional_call(blank, weights, (inputs,)), labels))

    of_each = vmap(loss)

    def step(each: list[Batch]) -> Tensor:
        inputs, labels = (torch.stack(part) for part in zip(*each, strict=True))
        adam.zero_grad()
        losses: Tensor = of_each(weights, inputs, labels)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
        return losses.detach()

    return weights, step


def bare(case: str, rounds: int) -> dict[str, float]:
    """Return the CPU milliseconds of a step alone, and of stacks by their size."""
    found = built(case, 0)
    batch = next(batches(found.datamodule, 0))
    one = alone(copy.deepcopy(found.model))
    peers: dict[str, Callable[[], object]] = {"1": lambda: one(batch)}
    for size in STACKS:
        step = stacked([copy.deepcopy(found.model) for _ in range(size)])[1]
        peers[str(size)] = lambda step=step, size=size: step([batch] * size)  # type: ignore[misc]
    times = interleaved(peers, 4 * rounds, warm_up=20)
    return {name: 1e3 * median(each) for name, each in times.items()}


def fit(case: str, is_empty: bool) -> dict[str, float]:
    """Return the CPU time of `monocon fit`: milliseconds of a step, seconds before the first and after the last.

    The second run of the process is timed, as those of a sweep come to a process that has imported everything.

    Args:
        case: One of `CASES`.
        is_empty: Whether to take the arithmetic of the step out.
    """
    from lightning_monocon import MonoCon
    from lightning_monocon.cli import main

    moments = step_moments()
    if is_empty:
        free = torch.zeros((), requires_grad=True)
        MonoCon.training_step = lambda self, batch, batch_idx: free * 1  # type: ignore[method-assign]
        torch.optim.AdamW.step = lambda self, closure=None: closure()  # type: ignore[method-assign]
    for steps in (50, LAST + 1):
        moments.clear()
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            main([*words(case), "--run_dir", folder, "--trainer.max_steps", str(steps)])
    end = time.process_time()
    per_step = 1e3 * (moments[LAST] - moments[FIRST]) / (LAST - FIRST)
    return {"step": per_step, "start": moments[0] - start, "end": end - moments[-1]}


class Lockstep:
    """Let runs with a thread each take every step together; between two steps, one thread runs at a time.

    Args:
        found: The command lines of the runs, which differ in their seeds.
    """

    def __init__(self, found: list[Any]) -> None:
        self.models = [each.model for each in found]
        weights, self.step = stacked(self.models)
        for place, model in enumerate(self.models):
            for name, own in model.named_parameters():
                own.data = weights[name].detach()[place]
            model.training_step = partial(self.arrive, place)
            model.optimizer_step = lambda epoch, batch_idx, optimizer, closure: closure()
        self.batches: list[Any] = [None] * len(found)
        self.moments: list[float] = []
        self.turn, self.barrier = threading.Lock(), threading.Barrier(len(found), self._step)
        threads = [threading.Thread(target=self._fit, args=(each,)) for each in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def arrive(self, place: int, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one run, when all have given their batches and the step is done."""
        from lightning_monocon.training.logged_means import log_epoch_mean

        self.batches[place] = batch
        self.turn.release()
        try:
            self.barrier.wait()
        finally:
            self.turn.acquire()
        loss = self.losses[place].clone().requires_grad_()
        log_epoch_mean(self.models[place], "train/loss", loss, len(batch[1]))
        return loss

    def _step(self) -> None:
        self.losses = self.step(self.batches)
        self.moments.append(time.process_time())

    def _fit(self, found: Any) -> None:  # noqa: ANN401  # a command line
        from lightning_monocon.cli.trainer import MonoConCLI

        torch.set_num_threads(1)  # OpenMP counts by thread
        with self.turn:
            try:
                MonoConCLI._run_subcommand(found, "fit")
            except BaseException:
                self.barrier.abort()
                raise


def lockstep(case: str, size: int) -> dict[str, float]:
    """Return the CPU milliseconds of the step of one run in lockstep with others."""
    with tempfile.TemporaryDirectory() as folder:
        limit = ["--trainer.max_steps", str(LAST + 1)]
        found = [built(case, seed, *limit, "--run_dir", f"{folder}/{seed}") for seed in range(size)]
        moments = Lockstep(found).moments
    return {"step": 1e3 * (moments[LAST] - moments[FIRST]) / (LAST - FIRST) / size}


def drift(case: str) -> dict[str, dict[str, float]]:
    """Return how far members of a stack are from runs of their own, by the number of steps."""
    found = [built(case, seed) for seed in range(SEEDS[case])]
    alike = [copy.deepcopy(each.model) for each in found]
    weights, together = stacked([each.model for each in found])
    steps = [alone(model) for model in alike]
    sources = [batches(each.datamodule, seed) for seed, each in enumerate(found)]
    held_out = found[0].datamodule.val.tensors
    told: dict[str, dict[str, float]] = {}
    for number in range(1, MARKS[-1] + 1):
        each = [next(source) for source in sources]
        together(each)
        for step, batch in zip(steps, each, strict=True):
            step(batch)
        if number in MARKS:
            told[str(number)] = _compared(weights, alike, held_out)
    return told


def _compared(weights: dict[str, Tensor], alike: list[nn.Module], held_out: Batch) -> dict[str, float]:
    far, apart = [], []
    for place, model in enumerate(alike):
        ours = {name: value[place].detach() for name, value in weights.items()}
        with torch.no_grad():
            far.append(max(float((ours[name] - own).abs().max()) for name, own in model.named_parameters()))
            scores = functional_call(model, ours, (held_out[0],)), model(held_out[0])
        right = [float((each.argmax(1) == held_out[1]).double().mean()) for each in scores]
        apart.append(abs(right[0] - right[1]))
    return {
        "seeds": len(far),
        "within 1e-5": sum(each <= 1e-5 for each in far),
        "largest difference of a weight": max(far),
        "of accuracy": max(apart),
    }


def work(kind: str, case: str, number: int) -> None:
    torch.set_num_threads(1)
    kinds: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(case, number),
        "fit": lambda: fit(case, is_empty=False),
        "empty": lambda: fit(case, is_empty=True),
        "lockstep": lambda: lockstep(case, number),
        "drift": lambda: drift(case),
    }
    print(json.dumps(kinds[kind]()))


class Costs(NamedTuple):
    """Hold the CPU time of a case: milliseconds of steps, by the number of models, and seconds around them."""

    bare: dict[str, float]
    fit: float
    empty: float
    ends: tuple[float, float]
    lockstep: dict[int, float]


def measured(case: str, rounds: int) -> Costs:
    """Return the medians over some rounds."""
    kinds = ["fit", "empty", *IN_LOCKSTEP]
    found: dict[object, list[Any]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            named = kind if isinstance(kind, str) else "lockstep"
            found[kind].append(in_fresh_process(__file__, [named, case, kind]))
    middles = {kind: median(each["step"] for each in rows) for kind, rows in found.items()}
    start, end = (median(each[name] for each in found["fit"]) for name in ("start", "end"))
    bare = cast("dict[str, float]", in_fresh_process(__file__, ["bare", case, rounds]))
    return Costs(bare, middles["fit"], middles["empty"], (start, end), {size: middles[size] for size in IN_LOCKSTEP})


def report(rounds: int) -> None:
    """Measure the cases, and write the tables after each."""
    parts: list[Row] = []
    gains: list[Row] = []
    drifts: list[Row] = []
    for case in CASES:
        costs = measured(case, rounds)
        parts.append(
            {
                "case": case,
                "bare step, ms": costs.bare["1"],
                "step of monocon fit, ms": costs.fit,
                "of it without arithmetic, ms": costs.empty,
                "start of a run, s": costs.ends[0],
                "end of a run, s": costs.ends[1],
            }
        )
        gains += [_gains(case, size, costs) for size in STACKS]
        found = in_fresh_process(__file__, ["drift", case, 0])
        drifts += [{"case": case, "steps": mark, **cast("Row", each)} for mark, each in found.items()]
        tables: dict[str, Sequence[Row]] = {
            f"The parts of a run, medians of {rounds} rounds": parts,
            f"CPU time of K runs one by one over that of K together, runs of {STEPS} steps": gains,
            "Weights of stacked runs beside those of runs of their own": drifts,
        }
        print(case, costs, write("stacked-sweep", "What a sweep would gain by stacked models", tables), flush=True)


def _gains(case: str, size: int, costs: Costs) -> Row:
    """Return a row of gains; blank where a lockstep was not measured."""
    each = costs.bare[str(size)] / size
    shared = costs.empty / size + each
    own = costs.lockstep.get(size)

    def whole(step: float) -> float:
        return sum(costs.ends) + step * STEPS / 1e3

    return {
        "case": case,
        "K": size,
        "bare step": costs.bare["1"] / each,
        "step in lockstep": costs.fit / own if own else "",
        "run in lockstep": whole(costs.fit) / whole(own) if own else "",
        "step with one Trainer, at most": costs.fit / shared,
        "run with one Trainer, at most": whole(costs.fit) / whole(shared),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs=3, metavar=("KIND", "CASE", "NUMBER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, case, number = options.worker
        work(kind, case, int(number) if number.isdecimal() else 0)
        return
    report(options.rounds)


if __name__ == "__main__":
    main()
