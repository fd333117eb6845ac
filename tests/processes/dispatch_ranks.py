# SPDX-License-Identifier: Apache-2.0
"""One rank of a real gloo group, which tests/kernels/test_dispatch.py runs with ``RANK WORLD_SIZE FOLDER``.

On rank 0 the step "triton" is the slow one, on the others "torch" is.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist

from lightning_monocon.kernels import dispatch

SLOW = {0: "triton", 1: "torch"}


def on_card(rows: int) -> SimpleNamespace:
    """What the switch looks at in a tensor, as if it were on an sm_90 card with Triton."""
    return SimpleNamespace(device=torch.device("cuda", 0), dtype=torch.float32, shape=(rows, 8))


def main(rank: int, world_size: int, folder: Path) -> None:
    dispatch.architecture = lambda device: "sm_90"
    dispatch.has_triton = lambda: True
    dispatch.in_transform = lambda *tensors: False
    written: list[str] = []
    sys.addaudithook(lambda event, arguments: written.append(str(arguments[1])) if event == "os.rename" else None)

    dist.init_process_group("gloo", f"file://{folder / 'meet'}", rank=rank, world_size=world_size)
    steps = {name: (lambda: time.sleep(0.01)) if name == SLOW[rank] else (lambda: None) for name in ("triton", "torch")}
    found = {
        "alone": dispatch._fastest(steps, 3),
        "measured": dispatch.measure("supcon", on_card(100), steps, rounds=3),
        "takes triton": dispatch.use_triton("supcon", "auto", {"sm_90": 1}, on_card(100)),
        "written": written,
    }
    dist.barrier()  # until rank 0 has written
    (folder / f"{rank}.json").write_text(json.dumps(found | {"on disk": json.loads(dispatch.cache_path().read_text())}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
