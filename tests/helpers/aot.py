# SPDX-License-Identifier: Apache-2.0
"""Compile kernels ahead of time for GPUs that are not here, and read what the compiler made of them.

Run as ``python -m helpers.aot MODULE TARGET LIST`` it compiles every `Case` in that list of that module whose targets
include TARGET, and prints one JSON object per case. It runs in a process of its own, without the interpreter: a kernel
decorated under ``TRITON_INTERPRET=1`` cannot be compiled. `report` does that from a test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

# compiled with every run of the tests
TARGETS = ("sm_80", "sm_90", "gfx942")
# bytes of shared memory one program may use: NVIDIA's opt-in limit per block; a CDNA3 compute unit's local memory
SHARED_LIMIT = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "gfx942": 64 * 1024}
SHARED_LIMIT |= {"sm_75": 64 * 1024, "sm_86": 99 * 1024, "sm_89": 99 * 1024, "sm_100": 227 * 1024, "sm_120": 99 * 1024}
SHARED_LIMIT |= dict.fromkeys(("gfx90a", "gfx1100", "gfx1200"), 64 * 1024)
OTHER_TARGETS = tuple(target for target in SHARED_LIMIT if target not in TARGETS)
"""Compiled by the slow tests only."""


def since_triton_38(later: int, before: int) -> int:
    """Return what holds for the installed Triton: 3.8 stages one more operand of some products in shared memory."""
    return later if tuple(map(int, version("triton").split(".")[:2])) >= (3, 8) else before


@dataclass(frozen=True)
class Case:
    """One shipped configuration of one kernel."""

    name: str
    kernel: Any
    """The ``@triton.jit`` function."""
    types: dict[str, str]
    """Runtime arguments, as Triton spells them: ``*fp16``, ``i32``, ``fp32``."""
    constants: dict[str, Any]
    targets: tuple[str, ...] = tuple(SHARED_LIMIT)
    num_warps: int = 4
    num_stages: int = 3
    multiples_of_16: tuple[str, ...] = ()
    """Integers known to be multiples of 16; pointers always are aligned to 16 bytes."""


def with_ones(cases: Iterable[Case]) -> list[Case]:
    """Return one case of each kernel with 1 for every size: Triton turns an argument of 1 into a constant."""
    found: dict[str, Case] = {}
    for case in cases:
        sizes = {name: 1 for name, kind in case.types.items() if kind == "i32" and name in case.kernel.arg_names}
        kernel = case.kernel.__name__
        one = replace(case, name=kernel, constants=case.constants | sizes, targets=TARGETS, multiples_of_16=())
        found.setdefault(kernel, one)
    return list(found.values())


def compile_case(case: Case, target: str) -> dict[str, Any]:
    """Compile for one target and return registers, spills and shared memory."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = case.kernel.arg_names
    signature = {name: "constexpr" if name in case.constants else case.types[name] for name in names}
    aligned = [k for k, name in enumerate(names) if signature[name][0] == "*" or name in case.multiples_of_16]
    source = ASTSource(
        case.kernel,
        signature=signature,
        constexprs=case.constants,
        attrs={(k,): [["tt.divisibility", 16]] for k in aligned},
    )
    gpu = (
        GPUTarget("hip", target, 32 if target.startswith("gfx1") else 64)
        if target.startswith("gfx")
        else GPUTarget("cuda", int(target[3:]), 32)
    )
    options = {"num_warps": case.num_warps, "num_stages": case.num_stages}
    binary = triton.compile(source, target=gpu, options=options)
    found = _from_amd(binary.asm["amdgcn"]) if target.startswith("gfx") else _from_nvidia(binary.asm["cubin"])
    return {"name": case.name, "target": target, "shared": binary.metadata.shared, **found} | _addresses(binary)


def _from_nvidia(cubin: bytes) -> dict[str, int]:
    import triton

    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage = _output(tools / "cuobjdump", "--dump-resource-usage", path)
        assembly = _output(tools / "nvdisasm", "-c", path)
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage).groups()
    # a spill is a load from or a store to thread-local memory, which these kernels have no other use for
    spills = len(re.findall(r"\s(?:LDL|STL)[.\s]", assembly))
    return {"registers": int(registers), "stack": int(stack), "spills": spills}


def _output(*command: object) -> str:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout


def _from_amd(assembly: str) -> dict[str, int]:
    def field(name: str) -> int:
        return int(re.search(rf"\.{name}:\s+(\d+)", assembly)[1])

    return {
        "registers": field("vgpr_count"),
        "stack": 0,
        "spills": field("vgpr_spill_count") + field("sgpr_spill_count"),
    }


def _addresses(binary: Any) -> dict[str, int]:
    """Return how many pointer additions use 32-bit offsets: those overflow from 2^31 elements on."""
    additions = re.findall(r"tt\.addptr .* : .*, (?:tensor<[^>]*x)?(i\d+)", binary.asm["ttir"])
    return {"addresses": len(additions), "narrow_addresses": additions.count("i32")}


def report(cases: str, target: str, name: str = "CASES") -> list[dict[str, Any]]:
    """Compile a module's list of cases for one target in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])  # of the helpers
    command = [sys.executable, "-m", "helpers.aot", cases, target, name]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


def main(module: str, target: str, name: str) -> None:
    for case in getattr(import_module(module), name):
        if target in case.targets:
            print(json.dumps(compile_case(case, target)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
