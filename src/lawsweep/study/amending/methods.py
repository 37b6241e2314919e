"""What a Study does about rows that it has: make them again, take them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lawsweep.study.amending.chosen import asked
from lawsweep.study.opening import Opened

if TYPE_CHECKING:
    from lawsweep.launch.report import RunReport, Watcher
    from lawsweep.study.amending.discarding import Discarded

Texts = str | Sequence[str]


class Amending(Opened):
    """The verbs of a Study that change what it has."""

    def rerun(
        self,
        where: Texts | None = None,
        *,
        run_ids: Texts | None = None,
        status: Texts | None = None,
        executor: str | Mapping[str, Any] | None = None,
        sinks: Sequence[Any] = (),
        watcher: Watcher | None = None,
        command: str = "",
    ) -> RunReport:
        """Run rows again that the table has: ``where`` a condition (or all of several) holds.

        Conditions are over the columns of ``frame``; ``run_ids`` may be shortened, ``status`` is
        one of a row's, and what is given together holds together.  The older attempts stay in the
        table, and the newest successful one counts.  Where it ended early the same call goes on
        with what is left.  The rest as ``run``; ``retry=True`` there does those that failed.
        """
        from lawsweep.study.amending.forcing import look, make_again
        from lawsweep.study.launch import Launch

        def launch(again: Sequence[int]) -> Launch:
            return Launch(
                self,
                executor=executor,
                sinks=sinks,
                watcher=watcher,
                command=command,
                again=again,
                keep=False,
            )

        return make_again(self, look(self, asked(where, run_ids, status)), launch)

    def discard(
        self,
        where: Texts | None = None,
        *,
        run_ids: Texts | None = None,
        status: Texts | None = None,
        dry_run: bool = False,
    ) -> Discarded:
        """Take rows out of the table, with all attempts and arrays: their runs count as not run.

        Which ones, as in ``rerun``.  With ``dry_run`` nothing goes, and what is returned says what
        would be lost.  Raises InvalidValueError while a launch of the experiment is under way.
        """
        from lawsweep.study.amending.discarding import look, remove

        found = look(self, asked(where, run_ids, status))
        return found if dry_run else remove(self, found)
