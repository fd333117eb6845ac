# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import pytest

from lightning_monocon.cli.output import LastingStream, outliving_output

SCRIPT = """
import os, sys
from lightning_monocon.cli.output import outliving_output
with outliving_output():
    for _ in range(3):
        print("x" * 100_000, flush=True)
    print(sys.stdout.isatty(), sys.stdout.fileno(), os.open(os.devnull, os.O_RDONLY) > 2, file=sys.stderr)
"""


@pytest.mark.parametrize("how", ["read", "pipe", "closed"])
def test_a_command_outlives_its_output(how: str) -> None:
    reader, writer = os.pipe()
    words = [sys.executable, "-c", SCRIPT]
    if how == "closed":
        words = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
    process = subprocess.Popen(words, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    found = b""
    if how == "read":
        while chunk := os.read(reader, 1 << 16):
            found += chunk
    os.close(reader)
    assert process.communicate()[1].split()[-1] == "True"  # no file takes the place of a closed one
    assert process.returncode == 0
    assert len(found) == (300_003 if how == "read" else 0)


def test_what_is_read_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with outliving_output():
        assert isinstance(sys.stdout, LastingStream)
        assert print("a") is None and sys.stdout.encoding == before[0].encoding
        print("b", file=sys.stderr)
    assert capsys.readouterr() == ("a\n", "b\n")
    assert (sys.stdout, sys.stderr) == before
