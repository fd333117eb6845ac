# SPDX-License-Identifier: Apache-2.0
"""Show a scorecard: as text, Markdown, HTML, figures and JSON."""
