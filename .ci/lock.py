# SPDX-License-Identifier: Apache-2.0
"""Write the hashes of the tools that build a release, at the versions of constraints.txt.

Run    make lock, after a change of those versions; it needs a package index
Does   downloads each tool's wheel and writes build-requirements.txt beside this file; the tools are pure Python, so
       that one wheel and one hash serve every machine
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOOLS = ("build", "packaging", "pyproject-hooks", "setuptools")
HERE = Path(__file__).resolve().parent
HEAD = "# Written by .ci/lock.py (make lock): what builds a release, by hash. Installed with --require-hashes.\n"


def pins() -> list[str]:
    """Return ``name==version`` of every tool.

    Raises:
        SystemExit: If constraints.txt has not exactly one version of one.
    """
    text = (HERE.parent / "constraints.txt").read_text(encoding="utf-8")
    found = []
    for tool in TOOLS:
        versions = re.findall(rf"^{re.escape(tool)}==([^\s;]+)\s*$", text, re.MULTILINE)
        if len(versions) != 1:
            raise SystemExit(f"constraints.txt must have one version of {tool} for all Pythons; it has {versions}.")
        found.append(f"{tool}=={versions[0]}")
    return found


def main() -> None:
    """Download, hash, write."""
    lines = []
    for pin in pins():
        with tempfile.TemporaryDirectory() as folder:
            words = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder, pin]
            subprocess.run([sys.executable, "-m", "pip", *words], check=True)
            (wheel,) = Path(folder).glob("*.whl")
            if not wheel.name.endswith("-none-any.whl"):
                raise SystemExit(f"{wheel.name} is for some machines only; one hash would not serve the others.")
            lines.append(f"{pin} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    (HERE / "build-requirements.txt").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
