# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: interleaved timing, ratios of medians, peak memory, and dated result files.

A benchmark checks its peers against a float64 truth first (`relative_error`), times them in turn in one process
(`interleaved`), and reports ratios, because absolute times on a shared machine mean little. On a CPU the clock is the
CPU time of one thread; on CUDA it is the wall time of a step, Python included, over `STEPS_IN_A_SAMPLE` steps with the
device drained before and after. Differences below what the same peer shows against itself (`A/A`) mean nothing.
"""

from __future__ import annotations

import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

Step = Callable[[], object]
Row = dict[str, object]

RESULTS = Path(__file__).parent / "results"
STEPS_IN_A_SAMPLE = 20  # on CUDA, where one step alone would be timed with the device idle before it
SAMPLE_SECONDS = 0.005
NEVER_SLOWER = 0.98
MAX_AUTOTUNE = "max-autotune"
QUIET_TRAINER = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def compile_modes(quick: bool) -> tuple[str, ...]:
    """Return the modes of `torch.compile` to measure on a GPU; its search for the best tiles takes minutes a shape."""
    return ("default", "reduce-overhead") if quick else ("default", "reduce-overhead", MAX_AUTOTUNE)


def modes_left_out(device: str, quick: bool) -> dict[str, str]:
    """Return the modes of `torch.compile` that do not run, and why."""
    return {f"compiled {MAX_AUTOTUNE}": "minutes a shape; not in --quick"} if quick and device == "cuda" else {}


def environment() -> dict[str, str]:
    """Return versions and hardware, as the result files state them."""
    facts = {
        "date": date.today().isoformat(),
        "commit": _commit(),
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "load average": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "matmul precision": torch.get_float32_matmul_precision(),
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
        facts["triton"] = __import__("triton").__version__
    else:
        facts["gpu"] = "none: not measured on a GPU"
    return facts


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, cwd=RESULTS.parent, check=False).stdout.strip()


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    fields = dict(re.findall(r"^(.+?)\s*:\s*(.+)$", info.read_text(), re.M)) if info.exists() else {}
    return f"{fields.get('model name', platform.processor())} (family {fields.get('cpu family', '?')})"


def seconds(step: Step, device: str = "cpu", steps: int = 1) -> float:
    """Return the time of one step, the mean of `steps` on a CPU: CPU time there, drained wall time on CUDA."""
    if device == "cpu":
        start = time.process_time()
        for _ in range(steps):
            step()
        return (time.process_time() - start) / steps
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS_IN_A_SAMPLE):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / STEPS_IN_A_SAMPLE


def interleaved(peers: dict[str, Step], rounds: int, device: str = "cpu", warm_up: int = 1) -> dict[str, list[float]]:
    """Return the times of each peer, taken in turn, so that a busy neighbour slows all alike.

    The order is drawn again each round (from a fixed seed): a small step is slower after one that empties the caches.
    On a CPU a sample is as many steps as last `SAMPLE_SECONDS`, for the same reason: training repeats one step.
    """
    for step in peers.values():
        for _ in range(warm_up):
            step()
    times: dict[str, list[float]] = {name: [] for name in peers}
    shortest = (
        min((seconds(step, device) for step in peers.values()), default=1.0) if device == "cpu" and warm_up else 1.0
    )
    steps = max(1, min(50, round(SAMPLE_SECONDS / max(shortest, 1e-6))))
    order, draw = list(peers), random.Random(0)
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            times[name].append(seconds(peers[name], device, steps))
    return times


def ratio(times: dict[str, list[float]], slower: str, faster: str) -> str:
    """Return "median (lowest to highest)" of slower / faster, taken round by round."""
    each = [a / b for a, b in zip(times[slower], times[faster], strict=True)]
    middle = statistics.median(times[slower]) / statistics.median(times[faster])
    return f"{middle:.2f} ({min(each):.2f} to {max(each):.2f})"


def middle(cell: object) -> float:
    """Return the median out of what `ratio` wrote."""
    return float(str(cell).split()[0])


def left_out(reasons: dict[str, str]) -> list[Row]:
    """Return the table of the peers that did not run, and why."""
    return [{"peer": name, "not run because": reason} for name, reason in reasons.items()]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return ``|a - b| / |b|`` in float64."""
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    return ((actual - expected).norm() / expected.norm().clamp_min(1e-300)).item()


def peak_megabytes(step: Step, device: str = "cpu") -> float:
    """Return the peak memory of a step beyond what was held before it; on a CPU call it in a fresh process."""
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before_kilobytes = _status("VmRSS")
    step()
    return (_status("VmHWM") - before_kilobytes) / 2**10


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def in_fresh_process(script: str, arguments: Sequence[object]) -> Row:
    """Run ``script --worker ARGUMENTS`` on one thread and return the JSON object it prints last."""
    command = [sys.executable, script, "--worker", *map(str, arguments)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads, check=False)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr[-2000:]}")
    row: Row = json.loads(run.stdout.splitlines()[-1])
    return row


def markdown(rows: Sequence[Row]) -> str:
    """Return rows with the same keys as a table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_cell(row[key]) for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def write(name: str, title: str, tables: dict[str, Sequence[Row]]) -> Path:
    """Write ``results/DATE-NAME.md`` and ``.json`` and return the first."""
    facts = environment()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{facts['date']}-{name}.md"
    setting = "; ".join(f"{key} {value}" for key, value in facts.items())
    parts = [f"# {title}", setting, *(f"## {head}\n\n{markdown(rows)}" for head, rows in tables.items() if rows)]
    path.write_text("\n\n".join(parts) + "\n")
    path.with_suffix(".json").write_text(json.dumps({"environment": facts, "tables": tables}, indent=1) + "\n")
    return path
