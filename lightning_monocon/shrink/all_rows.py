# SPDX-License-Identifier: Apache-2.0
"""Judge a few codes on all rows of a gallery that is too large to judge every code on.

All codes are compared on a sample of the rows. Fewer rows are easier to tell apart, so the smallest code that keeps
enough among them is only a guess: from there codes are judged on all rows until the border is found. That looks at the
choosing queries alone, so the codes that are then tested on the others are fixed beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from tqdm import tqdm

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.scorecard.truths import GradedTruth
from lightning_monocon.shrink.certificate import keeps
from lightning_monocon.shrink.engine import Engine, encoded_file
from lightning_monocon.shrink.judge import qualities
from lightning_monocon.shrink.parts import JudgedCodes
from lightning_monocon.shrink.result import Line
from lightning_monocon.shrink.task import Task

CHOOSING_ROWS = 50_000
"""Rows of a gallery on which all codes are compared at most."""


@dataclass(frozen=True, eq=False)
class AllRows:
    """Judge codes on all rows, each once.

    Attributes:
        task: Rows, queries and answers.
        fitting: What codes are fitted on.
        kept: Values that are known from an earlier run.
        engine: Where rows are encoded.
    """

    task: Task
    fitting: FittingRows
    kept: JudgedCodes
    engine: Engine

    def whole(self) -> Tensor:
        """Return the quality ``(U,)`` of the whole vectors."""
        return self._once("whole", lambda: qualities(self.task, None))

    def judged(self, line: Line) -> Line:
        """Return a code with its quality on all rows."""

        def judge() -> Tensor:
            codec = line.codec(self.fitting)
            return qualities(self.task, codec, self.codes(codec))

        return replace(line, values=self._once(line.name, judge))

    def codes(self, codec: Codec) -> Tensor:
        """Return the codes ``(N, bytes)`` of all rows, which are kept in a file until the run has ended."""
        return encoded_file(codec, self.task.gallery, self.kept.folder / f"{codec.name}.npy", self.engine)

    def bordering(self, best: Sequence[Line], guess: int, keep: float, error: float, choose: Tensor) -> list[Line]:
        """Return the codes that are to be certified, judged on all rows.

        Args:
            best: The best code of each number of bytes, from few to many.
            guess: Which of them may be the smallest that keeps enough.
            keep: Share of the whole vectors' quality that must be kept.
            error: Chance that a code passes on the choosing queries although it does not keep that.
            choose: Numbers of the choosing queries.
        """
        whole, found = self.whole()[choose].double().numpy(), dict[int, Line]()
        bounded = not isinstance(self.task.truth, GradedTruth)
        with tqdm(desc="codes on all rows", unit="code") as bar:

            def line(place: int) -> Line:
                if place not in found:
                    found[place] = self.judged(best[place])
                    bar.update()
                return found[place]

            def passes(place: int) -> bool:
                values = line(place).values[choose].double().numpy()
                return bool(keeps(values[:, None], whole, keep, error, bounded=bounded)[0])

            return [line(place) for place in border(len(best), guess, passes)]

    def _once(self, name: str, judge: Callable[[], Tensor]) -> Tensor:
        name = f"all-rows-{name}"
        values = self.kept.read(name) or {"values": judge()}
        self.kept.write(name, values)
        return values["values"]


def border(count: int, guess: int, passes: Callable[[int], bool]) -> range:
    """Return the smallest of ``count`` codes that passes, with its neighbours in size.

    Codes are numbered from few bytes to many; the search begins at ``guess``, and ends at the first border.
    """
    smallest = guess
    if passes(guess):
        while smallest > 0 and passes(smallest - 1):
            smallest -= 1
    else:
        smallest += 1
        while smallest < count and not passes(smallest):
            smallest += 1
    return range(max(smallest - 1, 0), min(smallest + 2, count))
