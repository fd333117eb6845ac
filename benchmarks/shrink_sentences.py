# SPDX-License-Identifier: Apache-2.0
"""Run `monocon shrink` on sentences, and write its report to results/.

    python benchmarks/shrink_sentences.py FOLDER

FOLDER holds gallery.npy and query.npy, as codes_task.py writes them: 12 000 sentences of SNLI through MiniLM, and 2 000
entailed hypotheses.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from training_runs import write_text

KEEP = "0.8"


def main() -> None:
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as out:
        words = [str(folder / "gallery.npy"), "--queries", str(folder / "query.npy"), "--keep", KEEP, "--out", out]
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lightning_monocon", "shrink", *words], check=True, capture_output=True)
        seconds = time.perf_counter() - started
        report = (Path(out) / "shrink.md").read_text()
    report = re.sub(r"!\[[^\]]*\]\([^)]*\)\n\n\*[^\n]*\*\n", "", report)  # its figures stay in the folder
    title, _, body = report.removeprefix("# Shrink: ").partition("\n")
    asked = f"`monocon shrink gallery.npy --queries query.npy --keep {KEEP} --out OUT`, {seconds:.0f} s of wall time."
    print(write_text("shrink-sentences", f"monocon shrink on 12 000 sentences: {title}", f"{asked}\n{body}"))


if __name__ == "__main__":
    main()
