# SPDX-License-Identifier: Apache-2.0
"""Time on a GPU: inputs in rotation, so that none waits in the cache, and the device's own time by graph replay.

`harness.interleaved` has the time that a training loop sees, Python included; `replay_seconds` what is left of it when
a CUDA graph launches the kernels. Peers that refuse to be captured (those that hold graphs of their own do) are given
by the sum of their kernels as the profiler saw them, and labelled so.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch
from harness import Row, Step, ratio

SETS, CACHE_MEGABYTES = 8, 120  # more than twice the L2 of an H100 or H200
ROUNDS, REPLAYS = 7, 50
REPLAYED, SUMMED = "graph replay", "sum of kernels"


class Rotation:
    """One step on several sets of inputs, the next set at each call."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        self.calls = 0

    def __call__(self) -> object:
        """Run the step on the next inputs."""
        self.calls += 1
        return self.steps[self.calls % len(self.steps)]()


def sets_of_inputs(megabytes: float, device: str) -> int:
    """Return how many sets of inputs to rotate: 8, or fewer where those outgrow the cache; 1 on a CPU."""
    if device == "cpu":
        return 1
    return max(1, min(SETS, math.ceil(CACHE_MEGABYTES / max(megabytes, 1e-3))))


def replay_seconds(peers: dict[str, Rotation]) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the device's seconds a step, `ROUNDS` of each peer in turn, and how each peer was measured."""
    graphs = {name: _captured(rotation) for name, rotation in peers.items()}
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(ROUNDS):
        for name, rotation in peers.items():
            found = graphs[name]
            times[name].append(_replayed(found) if found else _summed(rotation))
    return times, {name: REPLAYED if graphs[name] else SUMMED for name in peers}


def _captured(rotation: Rotation) -> list[torch.cuda.CUDAGraph]:
    """Return a graph per set of inputs; none where the peer cannot be captured."""
    graphs = []
    try:
        pool = torch.cuda.graph_pool_handle()
        for step in rotation.steps:
            stream = torch.cuda.Stream()  # what a first run allocates and tunes must not be captured
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    step()
            torch.cuda.current_stream().wait_stream(stream)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                step()
            graphs.append(graph)
    except RuntimeError:
        torch.cuda.synchronize()
        return []
    return graphs


def _replayed(graphs: list[torch.cuda.CUDAGraph]) -> float:
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for k in range(REPLAYS):
        graphs[k % len(graphs)].replay()
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) / 1e3 / REPLAYS


def _summed(rotation: Rotation) -> float:
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(REPLAYS):
            rotation()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6 / REPLAYS


def add_replay(rows: list[Row], peers: dict[str, Rotation], ours: str = "ours") -> None:
    """Add to each peer's row the device's milliseconds, the ratio to ours and how it was measured."""
    times, ways = replay_seconds(peers)
    for row in rows:
        name = str(row["peer"])
        row["device ms"] = statistics.median(times[name]) * 1e3
        row["device, peer / ours"] = ratio(times, name, ours)
        row["device time by"] = ways[name]
