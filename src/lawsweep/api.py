"""The verbs as functions: what the command line does, for notebooks and scripts.

import lawsweep
sweep = lawsweep.load_sweep("ntk_width", "seeds=2")
lawsweep.run(sweep, executor="serial")      # no Ray needed
frame = lawsweep.load(sweep)                # one row a planned run, as pandas
print(*lawsweep.fit(sweep), sep="\\n")
"""

from __future__ import annotations

from lawsweep.remote.end import cancel
from lawsweep.remote.end import exit_code as job_exit_code
from lawsweep.remote.follow import follow, job_log
from lawsweep.remote.states import Job, find_job, jobs
from lawsweep.remote.submitting import Submitted, submit
from lawsweep.study.arrays import load_arrays
from lawsweep.study.planning import PlanView, view_plan
from lawsweep.study.progress import Status, certificate, status
from lawsweep.study.questions import variants
from lawsweep.study.reading import export, fit, load, load_arrow, plot, report, show, to_json
from lawsweep.study.running import run
from lawsweep.study.searching import thresholds
from lawsweep.study.study import Study, commit_every_s, iterate_notes, plan, study
from lawsweep.tools.archive import Archive, archive
from lawsweep.tools.archive_check import verify_archive
from lawsweep.tools.audit import Audit, audit, sample_rows
from lawsweep.tools.comparing import Comparison, compare
from lawsweep.tools.importing import Imported, import_rows
from lawsweep.tools.keeping import compact, gc, verify
from lawsweep.tools.replay import Replay, replay, replay_row
from lawsweep.tools.sql import sql

__all__ = [
    "Archive",
    "Audit",
    "Comparison",
    "Imported",
    "Job",
    "PlanView",
    "Replay",
    "Status",
    "Study",
    "Submitted",
    "archive",
    "audit",
    "cancel",
    "certificate",
    "commit_every_s",
    "compact",
    "compare",
    "export",
    "find_job",
    "fit",
    "follow",
    "gc",
    "import_rows",
    "iterate_notes",
    "job_exit_code",
    "job_log",
    "jobs",
    "load",
    "load_arrays",
    "load_arrow",
    "plan",
    "plot",
    "replay",
    "replay_row",
    "report",
    "run",
    "sample_rows",
    "show",
    "sql",
    "status",
    "study",
    "submit",
    "thresholds",
    "to_json",
    "variants",
    "verify",
    "verify_archive",
    "view_plan",
]
