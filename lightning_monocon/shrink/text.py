# SPDX-License-Identifier: Apache-2.0
"""Say what was found: the outline of the report, which is printed in a terminal, as Markdown and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lightning_monocon.codes.names import in_bytes
from lightning_monocon.scorecard.render.outline import Outline, Section
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.tables import BEST, TIED, Marked, Table
from lightning_monocon.scorecard.render.text import markdown, text
from lightning_monocon.scorecard.render.words import noun
from lightning_monocon.shrink.choice import units_of
from lightning_monocon.shrink.result import Line, Result

CAPTIONS = {
    "shrink.png": "Quality against bytes per vector, with 95 % intervals over the certifying queries. The wide line is "
    "the front, the ring the chosen code, the dotted line what was asked for.",
    "shrink-limit.png": "Error of decoded rows that no code was fitted on, and bits of a vector beyond the fewest that "
    "a code of Gaussian vectors with their covariance needs for that error.",
}
"""What each figure shows, by file name."""

_MARKS = (
    f"Quality on the certifying queries by family. {BEST} marks the code that was chosen for its bytes on the other "
    f"queries, {TIED} those that are not behind it beyond noise (a 95 % interval of the paired difference)."
)
_INTERVALS = (
    "Codes that are better than every smaller one on the choosing queries or pairs, and the chosen one; ± is a 95 % "
    "interval of that line alone, over the certifying ones."
)
_LIMIT = (
    "The fewest bits at which any code of Gaussian vectors with the rows' covariance reaches the code's error. Codes "
    "that know more than the covariance, such as clusters, may lie below it."
)


_MOST = 0.5
"""Share of the queries that are rows from which on the answer says so."""

_WHOLE = 9.95  # a ratio of codes from which on it is told in whole numbers


def as_text(result: Result) -> str:
    """Return the report for a terminal, which shows no figures."""
    return text(outline(result))


def as_markdown(result: Result, figures: Iterable[str] = ()) -> str:
    """Return the report as Markdown, with figures that lie beside it."""
    return markdown(outline(result, figures))


def outline(result: Result, figures: Iterable[str] = ()) -> Outline:
    """Return the report.

    Args:
        result: What was found.
        figures: File names of the figures that are shown.
    """
    chosen, shown = result.chosen, set(figures)
    pictures = {name: [(name, CAPTIONS[name])] if name in shown else [] for name in CAPTIONS}
    sections = [
        Section("What is certified", sentences=[*_certified(result)]),
        Section("The front", _INTERVALS, [*_second(result)], [_front(result)], pictures["shrink.png"]),
        Section("Which family wins where", _MARKS, [*_winners(result)], [_families(result)]),
        Section("Distance to the limit", _LIMIT, [*_limit(result)], figures=pictures["shrink-limit.png"]),
        Section("Rows and queries", sentences=[*_rows(result)]),
        Section("What was not tested", sentences=[*_untested(result)]),
    ]
    filled = [part for part in sections if part.sentences or part.tables or part.figures]
    head = [_answer(result), *_leaked(result), *_unskilled(result)]
    return Outline(f"Shrink: {chosen.name}, {in_bytes(chosen.bytes)}", head, (), filled)


def _answer(result: Result) -> Sentence:
    chosen, width = result.chosen, 4 * result.task.gallery.shape[1]
    measure, estimate = _measure(result), result.estimate(chosen)[0]
    whole, times = float(result.whole[result.parts.certify].mean()), width / chosen.bytes
    return Sentence(
        chosen.name,
        f"{in_bytes(chosen.bytes)} instead of {width:,}, {times:,.{0 if times >= _WHOLE else 1}f} times smaller. Its "
        f"{measure} is {estimate:.3f}, that of the whole vectors {whole:.3f}.",
    )


def _leaked(result: Result) -> Iterator[Sentence]:
    """Yield the warning that the queries are rows, if most of them are."""
    if said := _repeats(result):
        yield Sentence(
            "These queries are no test of new ones",
            f"{said}, and a row finds itself by every code: hold them out of VECTORS, or leave --queries out.",
        )


def _unskilled(result: Result) -> Iterator[Sentence]:
    """Yield the warning that whole vectors answer no better than without a look at them, if they do."""
    if said := result.unskilled:
        yield Sentence("There is nothing to keep", f"{said}: check that rows, queries and answers belong together.")


def _repeats(result: Result) -> str:
    """Return how many queries are rows, if most are; else nothing."""
    task = result.task
    if task.repeats < _MOST * len(task.query):
        return ""
    return f"{task.repeats:,} of {len(task.query):,} queries are rows of VECTORS"


def _certified(result: Result) -> Iterator[Sentence]:
    asked, certificate = result.question, result.certificate
    tested = "the only code that was tested" if certificate.tested == 1 else f"one of {certificate.tested} tested codes"
    measure, name = _measure(result), f"{result.chosen.name}, {tested},"
    share = f"{asked.keep:.15g} of the whole vectors' {measure}"
    own, drawn = f"at least {certificate.low:.3f}", f"for {_units(result)} drawn as these were"
    drawn += f" ({found})" if (found := _repeats(result)) else ""
    if result.certified:
        said = f"{name} keeps at least {share}, and its own is {own}. Both hold together, {drawn}."
    else:
        said = f"the {measure} of {name} is {own}, {drawn}. The code is not shown to keep {share}."
    yield Sentence(f"With confidence {asked.confidence:.15g}", said)
    if result.certified and not result.chosen.front:
        units = _units(result)
        said = f"do as well on the choosing {units}; the certifying ones do not show that they keep enough, more may."
        yield Sentence("Smaller codes", said)
    if (short := result.shortlist) is None:
        return
    if short.length is None:
        said = f"no number of rows is certified; that takes {short.needs:,} certifying queries."
    else:
        said = (
            f"the first {short.length:,} rows hold all true neighbours of {100 * short.probability:g} % of the queries "
            f"(confidence {asked.confidence:.15g})."
        )
    yield Sentence("For rescoring with whole vectors", said)


def _front(result: Result) -> Table:
    second = ("second corpus",) if result.chosen.second is not None else ()
    head = ("code", "bytes", _measure(result), "next best", "lead", "bits above the limit", *second)
    others = [] if result.chosen.front else [result.chosen]
    shown = sorted([*result.front, *others], key=lambda line: line.bytes)
    return Table(head, tuple(_row(result, line) for line in shown))


def _row(result: Result, line: Line) -> tuple[str, ...]:
    mean, low, _ = result.estimate(line)
    rival, above = result.runner_up(line), result.above_limit(line)
    told = ("", "")
    if rival is not None:
        other, lead, half = rival
        beyond = "" if lead > half else " (behind)" if lead < -half else " (noise)"
        told = (other.name, f"{lead:+.3f} ± {half:.3f}{beyond}")
    name = line.name + (" (chosen)" if line.name == result.chosen.name else "")
    cells = (name, str(line.bytes), f"{mean:.3f} ± {mean - low:.3f}", *told, "" if above is None else str(round(above)))
    if line.second is None:
        return cells
    beaten = result.loses_elsewhere(line)
    return (*cells, f"{float(line.second.mean()):.3f}{f', loses to {beaten}' if beaten else ''}")


def _second(result: Result) -> Iterator[Sentence]:
    """Yield what the second corpus says against codes that win at home."""
    beaten = {line.name: rival for line in result.front if (rival := result.loses_elsewhere(line))}
    for name, rival in beaten.items():
        yield Sentence(name, f"is best here, and loses to {rival} on the second corpus by more than noise.")


def _families(result: Result) -> Table:
    names = result.families
    rows: list[tuple[str | Marked, ...]] = []
    for best in result.best:
        cells: list[Marked] = []
        for family in names:
            line = next((each for each in result.rivals(best) if each.family == family), None)
            mark = BEST if line is best else TIED if line and not result.is_behind(line, best) else " "
            cells.append(Marked("" if line is None else f"{result.estimate(line)[0]:.3f}", mark))
        rows.append((str(best.budget), *cells))
    return Table(("bytes given", *names), tuple(rows))


def _winners(result: Result) -> Iterator[Sentence]:
    for family in result.families:
        mine = [best for best in result.best if best.family == family]
        alone = [best for best in mine if len(result.rivals(best)) == 1]
        won = [best for best in mine if best not in alone]
        clear = [best for best in won if all(result.is_behind(rival, best) for rival in result.rivals(best))]
        said = []
        if won:
            beyond = f"; beyond noise at {_listed(clear)}" if clear else ", never beyond noise"
            said = [f"best at {_listed(won)} bytes{beyond}"]
        if alone:
            said.append(f"without a rival at {_listed(alone)} bytes")
        if said:
            yield Sentence(family, f"{'; '.join(said)}.")


def _limit(result: Result) -> Iterator[Sentence]:
    above = result.above_limit(result.chosen)
    if above is not None:
        side = "beyond" if round(above) >= 0 else "below"
        bits = 8 * result.chosen.bytes
        yield Sentence(result.chosen.name, f"takes {bits:,} bits a vector, {abs(above):,.0f} {side} that limit.")


def _rows(result: Result) -> Iterator[Sentence]:
    parts, task, units = result.parts, result.task, _units(result)
    kind = " that were held out of the rows" if task.held_out else ""
    yield Sentence(
        "",
        f"Codes were fitted on {len(parts.fit):,} of {len(task.gallery):,} rows, chosen on {len(parts.choose):,} "
        f"{units}{kind} and certified on {len(parts.certify):,} others.",
    )
    if result.compared < len(task.gallery):
        yield Sentence(
            "",
            f"Codes were compared on {result.compared:,} rows, which are easier to tell apart than all "
            f"{len(task.gallery):,}; the certificate and the shortlist are of all.",
        )
    if result.by_fit is not None:
        seen, unseen = result.by_fit
        measure = _measure(result)
        yield Sentence("", f"{measure} among fitted rows alone is {seen:.3f}, among as many unseen {unseen:.3f}.")
    for note in task.notes:
        yield Sentence("Note", f"{note}.")


def _untested(result: Result) -> Iterator[Sentence]:
    if result.chosen.second is None:
        yield Sentence("Another domain", "a code that wins here may lose there; give --second CORPUS.")
    yield Sentence("Other queries", f"the certificate is of {_units(result)} drawn as yours were, and of these rows.")
    yield Sentence("An index", "codes were compared with every row; an approximate index loses on top of that.")
    for name in result.missing:
        yield Sentence("Left out", f"{name}.")


def _measure(result: Result) -> str:
    return noun(result.task.truth.measures[0])


def _units(result: Result) -> str:
    return units_of(result.task.truth)


def _listed(lines: Iterable[Line]) -> str:
    """Return the bytes of one line or more in words."""
    *first, last = (str(line.budget) for line in lines)
    return f"{', '.join(first)} and {last}" if first else last
