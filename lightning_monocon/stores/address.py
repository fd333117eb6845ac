# SPDX-License-Identifier: Apache-2.0
"""Show the address of a store without its password."""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)([^/@:]*):[^@]*@")
_WORD = re.compile(r"(?i)((?:password|api[_-]?key|token|sslpassword)=)[^&\s]*")


def shown(address: str) -> str:
    """Return an address for logs and errors: passwords and keys are replaced by stars."""
    return _WORD.sub(r"\1***", _USER.sub(r"\1:***@", address))


def without_password(text: str, address: str) -> str:
    """Return a message of a library with every secret of an address replaced."""
    secrets = [match.split(":", 1)[1] for match in re.findall(r"(?<=://)([^/@]*:[^@]*)@", address)]
    secrets += [found.group(0).split("=", 1)[1] for found in _WORD.finditer(address)]
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return text
