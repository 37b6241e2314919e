"""The verbs as functions: what the command line does, for notebooks and scripts.

import lawsweep
sweep = lawsweep.load_sweep("ntk_width", "seeds=2")
lawsweep.run(sweep, executor="serial")      # no Ray needed
frame = lawsweep.load(sweep)                # one row a planned run, as pandas
print(*lawsweep.fit(sweep), sep="\\n")
"""

from __future__ import annotations

from lawsweep.api.archive import Archive, archive
from lawsweep.api.archive_check import verify_archive
from lawsweep.api.arrays import load_arrays
from lawsweep.api.audit import Audit, audit, sample_rows
from lawsweep.api.comparing import Comparison, compare
from lawsweep.api.importing import Imported, import_rows
from lawsweep.api.job_end import cancel
from lawsweep.api.job_end import exit_code as job_exit_code
from lawsweep.api.job_follow import follow, job_log
from lawsweep.api.job_states import Job, find_job, jobs
from lawsweep.api.keeping import compact, gc, verify
from lawsweep.api.planning import PlanView, view_plan
from lawsweep.api.progress import Status, certificate, status
from lawsweep.api.questions import variants
from lawsweep.api.reading import export, fit, load, load_arrow, plot, report, show, to_json
from lawsweep.api.replay import Replay, replay, replay_row
from lawsweep.api.running import run
from lawsweep.api.searching import thresholds
from lawsweep.api.sql import sql
from lawsweep.api.study import Study, commit_every_s, iterate_notes, plan, study
from lawsweep.api.submitting import Submitted, submit

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
