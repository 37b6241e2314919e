"""Where a run is, kept under its id: a later attempt goes on from there.

A checkpoint is one file, replaced as a whole: a run that is killed in the middle of a
``save`` goes on from the one before.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from lawsweep.core.during import packed
from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.core.outcome import Place, RunSpec

FOLDER, ARTEFACTS = "checkpoints", "artefacts"  # under results
OTHER_CODE, BROKEN = "not: other code", "not: unreadable"  # what a row says in ``resumed``
FROM_START = {
    OTHER_CODE: "began from the start: other code than today's made the checkpoint",
    BROKEN: "began from the start: the checkpoint cannot be read",
}
MOST_RUN_BYTES = 2**28  # of all artefacts of an attempt
_OPENER = ("lawsweep.store.places.find", "open_folder")


def _opened(place: Place, kind: str = FOLDER) -> Any:
    """Its folder; what opens it is of a room above this one, and imported when it is used."""
    opened = getattr(importlib.import_module(_OPENER[0]), _OPENER[1])(place.results)
    return opened / kind / place.experiment


def _say(text: str) -> None:
    sys.stderr.write(f"lawsweep: {text}\n")  # into what is kept of a run that fails, too


def file_name(run_id: str) -> str:
    """The checkpoint of a run."""
    return f"{run_id}.zip"


class Keeper:
    """The checkpoint of one attempt of a run.  ``resumed`` is what its row says."""

    def __init__(self, run: RunSpec):
        self._run, self._place = run, run.place
        self._folder: Path | None = None
        self._loaded: tuple[Any] | None = None
        self._has_failed = False
        self._left: dict[str, int] = {}  # artefacts of this attempt, and their bytes
        self.resumed: str | None = None
        self.is_there = False  # one that goes when the run has gone well

    def save(self, state: Any) -> bool:
        """Keep ``state`` in place of what was kept before; whether that could be written."""
        facts = {"run_id": self._run.run_id, "attempt": self._run.attempt}
        place: Place | None = self._place
        data = packed.pack(
            state, {**facts, "code": "" if place is None else place.code}, self._folder
        )
        if place is None:
            return False
        try:
            _opened(place).write(file_name(self._run.run_id), data)
        except LawsweepError as error:
            if not self._has_failed:
                _say(f"a checkpoint could not be kept, and the run goes on: {error}")
            self._has_failed = True
            return False
        self.is_there = not place.keep
        return True

    def load(self) -> Any:
        """The state that an earlier attempt kept; None where there is none to go on from."""
        place: Place | None = self._place
        if place is None:
            self.close()  # called by hand again: its folder is empty
            return None
        if self._loaded is None:
            self._loaded = (self._read(place),)
        return self._loaded[0]

    def _read(self, place: Place) -> Any:
        try:
            data = _opened(place).read(file_name(self._run.run_id))
        except FileNotFoundError:
            return None
        except LawsweepError as error:
            self.resumed = BROKEN
            _say(f"its checkpoint cannot be read, and the run begins from the start: {error}")
            return None
        self.is_there = not place.keep
        try:
            facts = packed.facts_of(data)
            if facts.get("run_id") != self._run.run_id:
                raise packed.BrokenError("it is of another run")
            if facts.get("code") != place.code:
                self.resumed = OTHER_CODE
                _say("its checkpoint was made by other code than today's: from the start")
                return None
            state = packed.unpack(data, self.folder)
        except (packed.BrokenError, ImportError) as error:
            self.resumed = BROKEN
            _say(f"its checkpoint cannot be read ({error}): from the start")
            self.close()
            return None
        self.resumed = f"attempt {facts.get('attempt')}"
        return state

    def keep_file(self, name: str, data: bytes) -> bool:
        """Keep an artefact; whether it could be written.  Raises InvalidValueError for too many."""
        place: Place | None = self._place
        if place is None:
            return False
        size = sum({**self._left, name: len(data)}.values())
        if size > MOST_RUN_BYTES:
            raise InvalidValueError(
                f"The artefacts of a run have at most {MOST_RUN_BYTES:,} bytes together, and with "
                f"{name} these have {size:,}. Keep fewer, or smaller ones."
            )
        try:
            (_opened(place, ARTEFACTS) / self._run.run_id).write(name, data)
        except LawsweepError as error:
            _say(f"{name} could not be kept, and the run goes on: {error}")
            return False
        self._left[name] = len(data)
        return True

    def folder(self) -> Path:
        """A folder of the run's own, here."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"lawsweep-{self._run.run_id[:8]}-"))
        return self._folder

    def close(self) -> None:
        """The run has ended: its folder here goes."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
