# SPDX-License-Identifier: Apache-2.0
"""Leave the launches to the process that compiles them without the interpreter; pytest would look for doctests."""

collect_ignore_glob = ["*_launches.py"]
