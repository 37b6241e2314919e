"""The verbs as functions: what the command line does, for notebooks and scripts.

import lawsweep
sweep = lawsweep.load_sweep("ntk_width", "seeds=2")
lawsweep.run(sweep, executor="serial")      # no Ray needed
frame = lawsweep.load(sweep)                # one row a planned run, as pandas
print(*lawsweep.fit(sweep), sep="\\n")
"""

from __future__ import annotations

from lawsweep.api.planning import PlanView, view_plan
from lawsweep.api.progress import Status, certificate, status
from lawsweep.api.reading import export, fit, load, load_arrow, plot, report, show, to_json
from lawsweep.api.running import run
from lawsweep.api.study import Study, commit_every_s, iterate_notes, plan, study

__all__ = [
    "PlanView",
    "Status",
    "Study",
    "certificate",
    "commit_every_s",
    "export",
    "fit",
    "iterate_notes",
    "load",
    "load_arrow",
    "plan",
    "plot",
    "report",
    "run",
    "show",
    "status",
    "study",
    "to_json",
    "view_plan",
]
