"""Programs that judge a project in turns of a few items, so that a collection can count in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select

from gnomon.feedback.annotators.programmatic import ProgramAnnotator, judge_items, register
from gnomon.feedback.store.schema import AnnotatorRow
from gnomon.feedback.store.store import Store


@dataclass
class ProgramTeam:
    """Programs that judge the items of a project.

    Attributes:
        store: the feedback store.
        project: id of the project.
        programs: the programs.
        skipped: number of items that a program skipped, by its name and the reason.
    """

    store: Store
    project: str
    programs: Sequence[ProgramAnnotator]
    skipped: dict[str, int] = field(default_factory=dict)

    def active(self) -> int:
        """Return how many of the programs are neither paused nor withdrawn."""
        ids = {register(self.store, program) for program in self.programs}
        statement = select(func.count()).where(AnnotatorRow.id.in_(ids), AnnotatorRow.state == "active")
        with self.store.reading() as session:
            return int(session.scalar(statement) or 0)

    def judge(self, items: int, max_judgements: int | None = None, stop: object = False) -> int:
        """Have each program judge some items.

        A program first gets the items that others have judged most, so items are completed one after another.

        Args:
            items: items for each program at most.
            max_judgements: judgements of all programs at most; `None`: any number.
            stop: becomes true to stop after the current item.

        Returns:
            The number of items that a program judged or skipped; 0 if there are none left.
        """
        done, left = 0, max_judgements
        for number, program in enumerate(self.programs):
            limit = items
            if left is not None:
                limit = min(items, left, max(1, left // (len(self.programs) - number)))
            if limit < 1 or stop:
                break
            summary = judge_items(self.store, self.project, program, max_judgements=limit, stop=stop)
            done += summary.judged + len(summary.skipped)
            left = None if left is None else left - summary.judged
            for _, reason in summary.skipped:
                name = f"{program.name}: {reason}"
                self.skipped[name] = self.skipped.get(name, 0) + 1
        return done
