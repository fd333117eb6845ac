# SPDX-License-Identifier: Apache-2.0
"""Faults on purpose: campaigns that break a run, a file or a payload and count what is lost or wrong."""
