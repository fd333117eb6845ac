# SPDX-License-Identifier: Apache-2.0
"""`python -m lightning_monocon` is the command `monocon`."""

from lightning_monocon.cli import main

if __name__ == "__main__":
    main()
