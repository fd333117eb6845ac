# SPDX-License-Identifier: Apache-2.0
"""Find the calls that write a file past the writer of the package, `lightning_monocon.runs.files`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

WRITERS = {
    *(
        "writestr",
        "tofile",
        "savez",
        "savez_compressed",
        "savefig",
        "save_file",
        "save_pretrained",
        "save_model",
        "to_csv",
        "to_parquet",
    ),
    *("write_table", "mkstemp", "NamedTemporaryFile", "urlretrieve", "FileHandler", "RotatingFileHandler"),
}
"""Functions that write a file, whatever they belong to."""

OF_PATHS = {"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "truncate"}
"""Methods that write the file of a path; as functions and in `files` they are the writer's."""

OF_MODULES = {
    "os": {"replace", "rename", "link", "symlink", "truncate"},
    "shutil": {"copy", "copy2", "copyfile", "copyfileobj", "copytree", "move"},
    "json": {"dump"},
    "pickle": {"dump"},
    "yaml": {"dump", "safe_dump"},
}
_MODE = re.compile(r"[rbt]*[wax+][wax+bt]*")
_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND"}


def writing_calls(source: str) -> list[tuple[int, str]]:
    """Return line and text of each call that writes a file, unless to a name that ``whole`` gave, or to memory."""
    tree = ast.parse(source)
    return [(call.lineno, ast.unparse(call)) for call, given in _calls(tree, frozenset()) if _writes(call, given)]


def _calls(node: ast.AST, given: frozenset[str]) -> Iterator[tuple[ast.Call, frozenset[str]]]:
    """Yield the calls below a node, each with the names that may be written to there."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        given = given | {name for inner in ast.walk(node) for name in _in_memory(inner)}
    if isinstance(node, ast.With):
        for item in node.items:
            yield from _calls(item, given)
            if isinstance(item.optional_vars, ast.Name) and _is_given(item.context_expr, given):
                given = given | {item.optional_vars.id}
        for child in node.body:
            yield from _calls(child, given)
        return
    if isinstance(node, ast.Call):
        yield node, given
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, given)


def _is_given(expression: ast.expr, given: frozenset[str]) -> bool:
    called = isinstance(expression, ast.Call) and _last(expression.func) == "whole"
    return called or bool(_names(expression) & given)


def _in_memory(node: ast.AST) -> list[str]:
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return []
    if _last(node.value.func) not in {"BytesIO", "StringIO"}:
        return []
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _writes(call: ast.Call, given: frozenset[str]) -> bool:
    if _names(call) & given or "os.devnull" in ast.unparse(call):
        return False
    name, owner = _last(call.func), _owner(call.func)
    if name in OF_PATHS:
        return isinstance(call.func, ast.Attribute) and owner != "files"
    if name in WRITERS or name in OF_MODULES.get(owner, ()):
        return not (name in {"dump", "safe_dump"} and owner == "yaml" and len(call.args) == 1)  # to a string
    if name == "open":
        return _opens_to_write(call)
    if name in {"replace", "rename"} and isinstance(call.func, ast.Attribute):  # of a path; of a text it has two
        return len(call.args) == 1 and not call.keywords
    ours = isinstance(call.func, ast.Attribute) and "EmbeddingSet" in ast.unparse(call.func.value)
    return name == "save" and isinstance(call.func, ast.Attribute) and not ours


def _opens_to_write(call: ast.Call) -> bool:
    values = [*call.args, *(each.value for each in call.keywords if each.arg in {"mode", "flags"})]
    modes = [each.value for each in values if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    flags = {_last(part) for each in values for part in ast.walk(each) if isinstance(part, ast.Attribute)}
    return any(_MODE.fullmatch(mode) for mode in modes) or bool(flags & _FLAGS)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _owner(node: ast.AST) -> str:
    return _last(node.value) if isinstance(node, ast.Attribute) else ""
