# SPDX-License-Identifier: Apache-2.0
"""Tell a result in words and a table, for the terminal and for ``shrink.md``."""

from __future__ import annotations

from lightning_monocon.shrink.result import Result


def as_markdown(result: Result) -> str:
    """Return the report, as Markdown that reads well in a terminal too."""
    table = [f"| {' | '.join(cells)} |" for cells in _rows(result)]
    return "\n".join([_answer(result), "", *table, "", *(f"- {line}" for line in _remarks(result)), ""])


def _answer(result: Result) -> str:
    chosen, width = result.chosen, 4 * result.task.gallery.shape[1]
    asked, measure = result.question, result.task.truth.measures[0]
    estimate, whole = result.estimate(chosen)[0], float(result.whole[result.parts.certify].mean())
    shown = "is shown to keep" if result.certified else "is not shown to keep"
    return (
        f"{chosen.name}: {chosen.bytes} bytes instead of {width:,}, {width / chosen.bytes:.0f} times smaller. Its "
        f"{measure} is {estimate:.3f} (at least {result.low:.3f} with confidence {asked.confidence:g}), that of the "
        f"whole vectors {whole:.3f}; it {shown} {asked.keep:g} of it."
    )


def _rows(result: Result) -> list[list[str]]:
    second = result.chosen.second is not None
    head = ["bytes", "best code", result.task.truth.measures[0], "next best", "lead"]
    rows = [head + ["second corpus"] * second, ["---"] * (len(head) + second)]
    for line in result.front:
        mean, low, _ = result.estimate(line)
        rival = result.runner_up(line)
        told = ["", ""]
        if rival is not None:
            other, lead, half = rival
            told = [other.name, f"{lead:+.3f} ± {half:.3f}{'' if lead > half else ' (noise)'}"]
        mark = " (chosen)" if line.name == result.chosen.name else ""
        rows.append([str(line.bytes), line.name + mark, f"{mean:.3f} ± {mean - low:.3f}", *told])
        if line.second is not None:
            beaten = result.loses_elsewhere(line)
            rows[-1].append(f"{float(line.second.mean()):.3f}{f', loses to {beaten}' if beaten else ''}")
    return rows


def _remarks(result: Result) -> list[str]:
    parts, truth, task = result.parts, result.task.truth, result.task
    units = "queries" if truth.unit == "query" else "pairs"
    kind = " that were held out of the rows" if task.held_out else ""
    said = [
        f"Codes were fitted on {len(parts.fit):,} of {len(task.gallery):,} rows, chosen on {len(parts.choose):,} "
        f"{units}{kind} and certified on {len(parts.certify):,} others. ± is a 95 % interval over the latter."
    ]
    if result.compared < len(task.gallery):
        said.append(
            f"The table is of {result.compared:,} rows, which are easier to tell apart than all {len(task.gallery):,}; "
            "what is said above it, and the shortlist, is of all."
        )
    if result.by_fit is not None:
        seen, unseen = result.by_fit
        said.append(f"{truth.measures[0]} among fitted rows alone is {seen:.3f}, among as many unseen {unseen:.3f}.")
    if result.shortlist is not None:
        said.append(
            f"For rescoring with whole vectors: the first {result.shortlist.length:,} rows hold all true neighbours of "
            f"{result.shortlist.probability:.0%} of the queries (confidence {result.question.confidence:g})."
        )
    said += [f"Note: {note}." for note in task.notes]
    said += [f"Left out: {name}." for name in result.missing]
    if result.chosen.second is None:
        said.append("Not tested: any other domain. A code that wins here may lose there; give --second CORPUS.")
    return said
