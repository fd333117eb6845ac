# SPDX-License-Identifier: Apache-2.0
"""Read and write YAML for every command: refuse a key that is there twice, and read a text back as the text it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lightning_monocon.cli.config import OptionParser, recipe_file
from lightning_monocon.cli.data_classes import import_named

_RECIPE = "a recipe, a mapping with keys such as model and data"


class ConfigError(ValueError, yaml.YAMLError):  # type: ignore[misc]  # PyYAML ships no types
    """Report a YAML file that cannot be used; the text says which file, where, and why."""


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Return a recipe, or the ``config.yaml`` of a run, as plain values, with numbers as `monocon fit` reads them.

    Raises:
        ValueError: If the file is missing, is not a YAML mapping, or holds a key twice.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "recipe.yaml"
        ...     _ = file.write_text("model: {lr_head: 1e-3}")
        ...     read_recipe(file)
        {'model': {'lr_head': 0.001}}
    """
    if not Path(path).is_file():
        raise ValueError(f"`--config` must be a recipe's name or an existing file, got {str(path)!r}.")
    return parse_yaml(Path(path).read_text(encoding="utf-8"), f"`--config` {str(path)!r}")


def names_a_model(words: Sequence[str], remote: bool = False, unreadable: bool = True) -> bool:
    """Return whether a recipe among the words of a command names the class of its model; else it is `MonoCon`.

    Args:
        words: The words; a last ``--config`` may lack its value.
        remote: Whether a recipe may be a URL.
        unreadable: Whether a file that is no recipe is left to the command's own parser, which says why.

    Raises:
        ValueError: If a file is no recipe and there is no other parser to say so.
    """
    parser = OptionParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", nargs="?", action="append", default=[])
    for name in filter(None, parser.parse_known_args(list(words))[0].config):
        file = recipe_file(name, remote)
        try:
            model = read_recipe(file).get("model")
        except ValueError:
            if not unreadable:
                raise
            continue
        if isinstance(model, dict) and "class_path" in model:
            return True
    return False


def parse_yaml(text: str, file: str, content: str = _RECIPE) -> dict[str, Any]:
    """Return the content of a YAML mapping.

    Args:
        text: The YAML.
        file: The file that it comes from, as the sentence on a mistake calls it.
        content: What it must hold.
    """
    with strict_yaml():
        found: dict[str, Any] = _load(text, file, content)
        return found


@contextmanager
def strict_yaml(flag: str = "--config", content: str = _RECIPE) -> Iterator[None]:
    """Let jsonargparse read and write YAML by the rules of this module as long as the context lasts.

    jsonargparse keeps one reader and one writer for the process, so they are set while a command runs and taken back
    afterwards.

    Args:
        flag: The option that names the files, for the sentences on a file that cannot be used.
        content: What they must hold.
    """
    from jsonargparse import _loaders_dumpers as kept  # there is no public way to ask for a dumper, or take one back
    from jsonargparse import set_dumper, set_loader

    _, words = _loaders()
    parts: tuple[dict[str, Any], ...] = (
        kept.loaders,
        kept.loader_exceptions,
        kept.loader_json_superset,
        kept.loader_params,
        kept.dumpers,
    )
    saved: list[dict[str, Any]] = [dict(part) for part in parts]
    scalars = kept.yaml_default_loader

    def load(text: str, path: str = "") -> object:
        return _load(text, path and f"`{flag}` {path!r}", content)

    set_loader("yaml", load, exceptions=(yaml.YAMLError,))
    set_dumper("yaml", _dump)
    kept.yaml_default_loader = words  # type: ignore[assignment]  # it begins as None
    try:
        yield
    finally:
        kept.yaml_default_loader = scalars
        for part, before in zip(parts, saved, strict=True):
            part.clear()
            part.update(before)


@cache
def _loaders() -> tuple[type[Any], type[Any]]:
    """Return jsonargparse's loader of YAML, for files, and one for words, to which 0x10 and 1:30 are no numbers."""
    from jsonargparse import _loaders_dumpers

    files = _loaders_dumpers.get_yaml_default_loader()  # type: ignore[no-untyped-call]  # jsonargparse's

    words: Any = type("Words", (files,), {})
    for kind, other in (("int", r"[-+]?0[0-9_bx]|.*:"), ("float", ".*:")):
        number = getattr(words, f"construct_yaml_{kind}")
        words.add_constructor(
            f"tag:yaml.org,2002:{kind}",
            lambda loader, node, number=number, other=re.compile(other): (
                node.value if other.match(node.value) else number(loader, node)
            ),
        )
    return files, words


def _load(text: str, file: str, expected: str = _RECIPE) -> Any:  # noqa: ANN401  # whatever the file holds
    """Return what jsonargparse makes of the text, unless a key is in it twice; ``file`` is empty for a word."""
    from jsonargparse import _loaders_dumpers

    name = file or "the value"
    import_named(text)
    try:
        root = _composed(text)
        _refuse_doubled_keys(root, name)
        if file:
            _refuse_two_spellings(root, name)
            content = yaml.load(text, Loader=_loaders()[0])
        else:
            content = _loaders_dumpers.yaml_load(text)  # type: ignore[no-untyped-call]  # jsonargparse's
    except ConfigError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {_in_one_line(error)}") from error
    if file and not isinstance(content, dict):
        found = "is empty" if content is None or not text.strip() else f"holds a value of type {type(content).__name__}"
        raise ConfigError(f"{name} must hold {expected}; it {found}")
    return content


def _composed(text: str) -> yaml.Node | None:
    loader = yaml.SafeLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _refuse_two_spellings(root: yaml.Node | None, file: str) -> None:
    """Raise ConfigError if a file has an option with dashes and with underscores; one would win silently."""
    first: dict[str, yaml.Node] = {}
    for key, _ in root.value if isinstance(root, yaml.MappingNode) else ():
        name = str(key.value).replace("-", "_")
        other = first.setdefault(name, key)
        if other.value != key.value:
            raise ConfigError(
                f"{file} has the option {name!r} in both spellings, on lines {other.start_mark.line + 1} and "
                f"{key.start_mark.line + 1}, and only one of them would count; remove one"
            )


def _refuse_doubled_keys(root: yaml.Node | None, file: str) -> None:
    """Raise ConfigError if two keys of a mapping are equal; PyYAML drops the first silently."""
    values = yaml.SafeLoader("")
    for mapping, name in _mappings(root):
        lines: dict[object, int] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            is_merge = key.tag == "tag:yaml.org,2002:merge"
            value = key.value if is_merge else values.construct_object(key)  # 1 and 0x1 are one key
            line = key.start_mark.line + 1
            if value in lines:
                where = f"on lines {lines[value]} and {line}" if line != lines[value] else f"twice on line {line}"
                raise ConfigError(
                    f"{file} has the key {'.'.join((*name, key.value))!r} {where}, and only one of them "
                    "would count; join the two, or remove one"
                )
            lines[value] = line


def _mappings(root: yaml.Node | None) -> Iterator[tuple[yaml.MappingNode, tuple[str, ...]]]:
    """Yield each mapping below a node once, with the keys that lead to it; an alias may close a cycle."""
    seen: set[int] = set()
    todo: list[tuple[yaml.Node | None, tuple[str, ...]]] = [(root, ())]
    while todo:
        node, name = todo.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node, name
            todo += [(child, (*name, str(key.value))) for key, child in node.value]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(child, (*name, str(i))) for i, child in enumerate(node.value)]


def _in_one_line(error: yaml.YAMLError) -> str:
    """Return what PyYAML says, with the line and the column, without its excerpt of the text."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return " ".join(str(error).split())
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no types
    """Write YAML as PyYAML does, but quote what jsonargparse would not read back as text."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML reads 5e5 as text and writes it bare; jsonargparse reads that as a number
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _is_read_as_text(text) else "'")


_Dumper.add_representer(str, _text)


def _is_read_as_text(text: str) -> bool:
    try:
        return bool(yaml.load(text, Loader=_loaders()[0]) == text)
    except yaml.YAMLError:  # punctuation, which PyYAML quotes by itself
        return True


def _dump(data: object) -> str:
    return str(yaml.dump(data, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False))
