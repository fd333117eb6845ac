#!/usr/bin/env bash
# The code cache of torch.compile under another ATEN_CPU_CAPABILITY
#
# Guess: inductor generates C++ for the vector instructions that `ATEN_CPU_CAPABILITY` allows, so its cache on disk
# keeps the code of each capability apart, as it does for versions of torch and options of the compiler.
#
# What happens (torch 2.13.0, CPU with AVX2 or more): the key of the cache does not hold the capability. A function
# that was compiled by an ordinary process is taken from the cache by one with `ATEN_CPU_CAPABILITY=default`: its
# source uses vector types, the flags say that there are none, and the C++ compiler refuses it. `torch.compile` raises;
# with a cache folder of its own the same process works.
#
# What follows for us: tests that run under `ATEN_CPU_CAPABILITY` get a cache folder per capability (tests/conftest.py),
# and whoever builds on one machine for another should set `TORCHINDUCTOR_CACHE_DIR`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 setuptools

cat > "$folder/sum.py" <<'PYTHON'
import torch

double_sum = torch.compile(lambda x: (x * 2).sum(1))
try:
    print(torch.__version__, torch.backends.cpu.get_cpu_capability(), double_sum(torch.ones(2, 40)).tolist())
except Exception as error:
    print(torch.__version__, torch.backends.cpu.get_cpu_capability(), type(error).__name__)
PYTHON

run() { env "$@" "$folder/venv/bin/python" "$folder/sum.py" 2>/dev/null; }
first=$(run TORCHINDUCTOR_CACHE_DIR="$folder/a")
second=$(run TORCHINDUCTOR_CACHE_DIR="$folder/a" ATEN_CPU_CAPABILITY=default)
third=$(run TORCHINDUCTOR_CACHE_DIR="$folder/b" ATEN_CPU_CAPABILITY=default)
printf '%s\n' "ordinary:                  $first" "default, the same cache:   $second" "default, one of its own:   $third"
if [[ $first == *"[80.0, 80.0]" && $second != *"[80.0, 80.0]" && $third == *"[80.0, 80.0]" ]]; then
    echo "as stated"
else
    echo "NOT as stated: this finding is out of date"
    exit 1
fi

# Output:
#   ordinary:                  2.13.0+cpu AVX512 [80.0, 80.0]
#   default, the same cache:   2.13.0+cpu DEFAULT BackendCompilerFailed
#   default, one of its own:   2.13.0+cpu DEFAULT [80.0, 80.0]
#   as stated
