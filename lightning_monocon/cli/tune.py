# SPDX-License-Identifier: Apache-2.0
"""Run `monocon tune`: time the kernels against plain torch on this machine, for `backend="auto"` to follow."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_monocon.cli.config import stop
from lightning_monocon.cli.options import CommandParser

_DTYPES = ("float32", "float16", "bfloat16")
_MORE = """\
The results are kept in $MONOCON_CACHE, or in ~/.cache/lightning_monocon, and
serve all numbers of rows with the same next power of two. Delete the file
kernels.json there to go back to the tables.
"""


def run(args: Sequence[str]) -> None:
    """Run the command; exit with status 2 if an option does not fit, and with 1 if there is no GPU."""
    options, _ = parser().parse(args[1:])
    for name in ("rows", "dim", "features"):
        if options[name] < 1:
            stop(f"`--{name}` must be at least 1, got {options[name]}")
    import torch

    from lightning_monocon.kernels import dispatch, tuning

    device = torch.device("cuda")
    if not torch.cuda.is_available() or not dispatch.has_triton():
        raise SystemExit("monocon tune: nothing to time: it needs a GPU and Triton 3.6 or newer; `auto` is torch.")
    dtype: torch.dtype = getattr(torch, options.dtype)
    for name, choice in tuning.tune(options.rows, options.dim, features=options.features, dtype=dtype).items():
        print(f"{name}: {choice} on {dispatch.architecture(device)}")
    print(f"Written to {dispatch.cache_path()}.")


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "tune",
        usage="[OPTIONS]",
        about="Time the kernels of the losses and of the head against plain torch, and let backend='auto' follow.",
        more=_MORE,
    )
    found.add_argument("--rows", type=int, default=1024, help="Rows of a batch on one GPU.")
    found.add_argument("--dim", type=int, default=128, help="Dimensions of the embeddings.")
    found.add_argument("--features", type=int, default=512, help="Dimensions of the head's input.")
    found.add_argument("--dtype", choices=_DTYPES, default="float32", help="Dtype of embeddings and features.")
    return found
