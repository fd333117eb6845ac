# SPDX-License-Identifier: Apache-2.0
"""Limit what a YAML file may import: a configuration names classes, and naming a class imports its module.

jsonargparse keeps these rules for the whole process, so they are set while a command of `monocon` parses and runs,
never at import, and taken back afterwards.

- The default is a deny list: jsonargparse's own (the standard library's ways to run, load and write) and `DENIED`. A
  class of a module that is on neither list can still be named, and naming it runs that module.
- ``--strict-imports`` allows only `ALLOWED` and what ``--allow-import`` adds.
- Configurations are read from this machine only, unless ``--allow-remote-config`` is given.

The options count on the command line alone: a file cannot grant itself anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from lightning_monocon.cli.config import OptionParser, stop

STRICT, ALLOW, REMOTE = "--strict-imports", "--allow-import", "--allow-remote-config"

DENIED = [
    # what runs or loads code, by the names under which it can be imported
    *("torch.hub", "torch.load", "torch.serialization", "torch.jit", "torch.package", "torch.utils.cpp_extension"),
    *("torch.multiprocessing", "torch.distributed.run", "torch.distributed.launch", "torch.distributed.elastic"),
    *("joblib", "dill", "cloudpickle", "pandas.read_pickle", "pandas.io.pickle", "numpy.load", "numpy.lib"),
    # what would build a class that a value names, past these rules
    *("lightning.pytorch.cli", "lightning_monocon.cli"),
]
ALLOWED = ["lightning_monocon", "torch.nn", "torch.optim", "torch.utils.data", "lightning.pytorch"]


class ImportPolicy(NamedTuple):
    """Hold what the command line permits.

    Attributes:
        strict: Whether only allowed names may be imported.
        allowed: Packages or names that the user allows beyond the rules.
        remote: Whether a configuration may be read from another machine.
    """

    strict: bool = False
    allowed: tuple[str, ...] = ()
    remote: bool = False

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Make jsonargparse follow the policy while a command parses and runs."""
        # Lightning's command line switches remote reading on when it is imported, so it has to come first.
        import lightning.pytorch.cli  # noqa: F401

        with self.parsing():
            yield

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """Make jsonargparse follow the policy within the context, in which Lightning is not imported."""
        from jsonargparse import _common, _optionals, set_parsing_settings

        settings, remote = _common.parsing_settings, "s" in _optionals._get_config_read_mode()
        saved = dict(settings)  # there is no public way to take a rule back
        try:
            # a class path in a free dictionary stays a dictionary; older releases of jsonargparse have no such setting
            if "instantiate_subclass_spec_in_any" in settings:
                settings["instantiate_subclass_spec_in_any"] = False
            set_parsing_settings(
                import_path_denylist=[*DENIED, "*"] if self.strict else DENIED,
                import_path_allowlist=[*(ALLOWED if self.strict else ()), *self.allowed],
                config_read_mode_fsspec_enabled=self.remote,
                config_read_mode_urls_enabled=False,
            )
            yield
        finally:
            settings.clear()
            settings.update(saved)
            set_parsing_settings(config_read_mode_fsspec_enabled=remote)


def import_policy(words: Sequence[str]) -> tuple[ImportPolicy, list[str]]:
    """Take the options of the policy out of a command's words.

    Returns:
        The policy, and the words without its options.

    Raises:
        SystemExit: With status 2 if ``--allow-import`` names nothing.

    Example:
        >>> import_policy(["fit", "--strict-imports", "--allow-import", "mine", "--config", "digits"])
        (ImportPolicy(strict=True, allowed=('mine',), remote=False), ['fit', '--config', 'digits'])
    """
    parser = OptionParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(STRICT, action="store_true", dest="strict")
    parser.add_argument(ALLOW, action="append", dest="allowed", default=[], type=_checked)
    parser.add_argument(REMOTE, action="store_true", dest="remote")
    try:
        found, rest = parser.parse_known_args(list(words))
    except argparse.ArgumentError as error:
        if error.argument_name != ALLOW:
            stop(str(error))
        stop(f"`{ALLOW}` must be followed by a package, module or class, such as {ALLOW} my_package")
    return ImportPolicy(found.strict, tuple(found.allowed), found.remote), rest


def _checked(name: str) -> str:
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or parts[0] == "jsonargparse":
        stop(
            f"`{ALLOW}` must be the dotted name of a package, module or class, and not jsonargparse, whose rules these "
            f"are; got {name!r}"
        )
    return name
