# SPDX-License-Identifier: Apache-2.0
"""Leave the doctests of the kernel files out where Triton is not installed: they import it, and nothing else does."""

from importlib.util import find_spec

_KERNEL_FILES = ("kernel*.py", "launch*.py", "backward.py", "elementwise.py", "fused.py", "ranks.py", "stack.py")

collect_ignore_glob = [] if find_spec("triton") else [f"lightning_monocon/kernels/*/{name}" for name in _KERNEL_FILES]
