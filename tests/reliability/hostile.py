# SPDX-License-Identifier: Apache-2.0
"""Payloads that would leave a mark if anything of them ran: in pickles, in hyper-parameters, in YAML."""

from __future__ import annotations

import builtins
import contextlib
import functools
import http.server
import importlib
import io
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from lightning_monocon import MonoCon
from lightning_monocon.encoders import SmallCNN

PLANTED = "planted_by_a_stranger"


class Call:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class State:
    """Pickles to a call whose result then gets a state, as an object of an innocent class would."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Call, (os.mkdir, str(self.mark)), {"function": Call(os.mkdir, str(self.mark))}


GADGETS: dict[str, Callable[[Path], object]] = {
    "os.mkdir": lambda mark: Call(os.mkdir, str(mark)),
    "eval": lambda mark: Call(builtins.eval, f"__import__('os').mkdir({str(mark)!r})"),
    "subprocess": lambda mark: Call(subprocess.check_call, ["mkdir", str(mark)]),
    "import": lambda mark: Call(importlib.import_module, PLANTED),
    "partial": lambda mark: Call(functools.partial(os.mkdir, str(mark))),
    "state": State,
}


class Trap:
    """A folder with a module on the path; importing it, or running anything above, leaves a mark."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, folder / "mark"
        self.asked = 0
        """How often the server was asked for a file."""

    @property
    def sprung(self) -> bool:
        """Whether anything ran, was imported or was downloaded."""
        return self.mark.exists() or PLANTED in sys.modules or self.asked > 0

    def checkpoint(self, gadget: str) -> Path:
        """Write a checkpoint with a gadget in the place of its weights."""
        path = self.folder / f"{gadget}.ckpt"
        torch.save({"state_dict": GADGETS[gadget](self.mark), "monocon": {}}, path)
        return path

    def yaml(self, text: str) -> Path:
        """Write a configuration that may name the mark and the module."""
        path = self.folder / "payload.yaml"
        path.write_text(text.replace("PLANTED", PLANTED).replace("MARK", str(self.mark)), encoding="utf-8")
        return path

    def url(self, port: int, path: Path) -> str:
        """Return where the server has a file."""
        return f"http://127.0.0.1:{port}/{path.name}"


@contextlib.contextmanager
def trap(folder: Path) -> Iterator[tuple[Trap, int]]:
    """Set a trap, with a server of its folder, whose port is given."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Trap(folder)
    lines = "import os, torch", f"os.makedirs({str(found.mark)!r}, exist_ok=True)"
    classes = ("class Encoder(torch.nn.Linear): pass", "def hook(*_): pass")
    (folder / f"{PLANTED}.py").write_text("\n".join([*lines, *classes]), encoding="utf-8")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            found.asked += 1
            super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    sys.path.insert(0, str(folder))
    try:
        yield found, server.server_address[1]
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(PLANTED, None)
        importlib.invalidate_caches()
        server.shutdown()
        server.server_close()
        thread.join()


def refused(action: Callable[[], object]) -> bool:
    """Return whether an action ends in an error, which nobody sees."""
    silent = contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO())
    with silent[0], silent[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as an error, a warning would pass for a refusal
        try:
            action()
        except (Exception, SystemExit):
            return True
    return False


def checkpoint_content() -> dict[str, Any]:
    """Return what a checkpoint of the digits recipe holds, with fresh weights."""
    model = MonoCon(SmallCNN(), warmup_epochs=0)
    content: dict[str, Any] = {"state_dict": model.state_dict(), "epoch": 0, "global_step": 0}
    model.on_save_checkpoint(content)
    return content


def with_name(content: dict[str, Any]) -> None:
    content["monocon"]["encoder"] = {"name": f"{PLANTED}.Encoder", "in_features": 8, "out_features": 8}


def with_class_path(content: dict[str, Any]) -> None:
    content["monocon"]["encoder"] = {"class_path": f"{PLANTED}.Encoder", "init_args": {}}


def with_hyperparameters(content: dict[str, Any]) -> None:
    encoder = {"class_path": f"{PLANTED}.Encoder", "init_args": {"in_features": 8, "out_features": 8}}
    content["hyper_parameters"] = {"encoder": encoder, "_class_path": f"{PLANTED}.Encoder"}


def with_instantiator(content: dict[str, Any]) -> None:
    with_hyperparameters(content)
    content["hyper_parameters"]["_instantiator"] = "lightning.pytorch.cli.instantiate_module"
    content["datamodule_hyper_parameters"] = {"_instantiator": f"{PLANTED}.hook", "_class_path": f"{PLANTED}.Encoder"}


POISONS = [with_name, with_class_path, with_hyperparameters, with_instantiator]

ENCODER = "model: {encoder: {class_path: %s, init_args: {%s}}}"
YAML = {
    "a module on the path": ENCODER % ("PLANTED.Encoder", "in_features: 64, out_features: 8"),
    "os.system": ENCODER % ("os.system", "command: mkdir MARK"),
    "a short name": "model: {encoder: PLANTED.Encoder}",
    "head": "model: {head: {class_path: PLANTED.Encoder, init_args: {in_features: 64, out_features: 8}}}",
    "loss": "model: {loss: {class_path: PLANTED.Encoder, init_args: {in_features: 64, out_features: 8}}}",
    "data": "data: {class_path: PLANTED.Encoder}",
    "callback": "trainer: {callbacks: [{class_path: PLANTED.Encoder}]}",
    "Popen": "trainer: {callbacks: [{class_path: subprocess.Popen, init_args: {args: [mkdir, MARK]}}]}",
    "hook": "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LambdaCallback, "
    "init_args: {on_fit_start: PLANTED.hook}}]}",
    "logger": "trainer: {logger: [{class_path: PLANTED.Encoder}]}",
    "plugin": "trainer: {plugins: [{class_path: PLANTED.Encoder}]}",
    "strategy": "trainer: {strategy: {class_path: PLANTED.Encoder}}",
    "profiler": "trainer: {profiler: {class_path: PLANTED.Encoder}}",
    "tag": "model: !!python/object/apply:os.mkdir [MARK]",
    "compiler": ENCODER % ("torch.utils.cpp_extension.load_inline", "name: x, cpp_sources: ''"),
    "hub": ENCODER % ("torch.hub.load", "repo_or_dir: 'a/b', model: c"),
    "instantiator": ENCODER % ("lightning.pytorch.cli.instantiate_module", "module_class: PLANTED.Encoder"),
    "free dictionary": ENCODER
    % (
        "lightning_monocon.encoders.SentenceTransformersEncoder",
        "steps: [{class_path: subprocess.Popen, init_args: {args: [mkdir, MARK]}}]",
    ),
    "inner module": ENCODER % ("torch.nn.Sequential", "args: [{class_path: PLANTED.Encoder}]"),
}
