"""What goes into an archive beside the tables: texts without this machine's paths, the code."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep import __version__
from lawsweep.core.code.source import source_of
from lawsweep.core.secrets import hide, hide_overrides, hide_settings, learn_settings
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep

if TYPE_CHECKING:
    import pyarrow as pa

_HOME = re.compile(r"/(?:home|Users)/[^/\s\"'<>:,;&]+")
# An absolute path of two parts or more.  Not after a character of base64 or of a relative path:
# a report carries its pictures as text.
_PATH = re.compile(r"(?<![\w+/.~])/(?:[^\s/\"'<>:,;()\[\]{}]+/)+([^\s/\"'<>:,;()\[\]{}]*)")
_RESULTS_DIR = re.compile(r"\s*(?:'results_dir=[^']*'|results_dir=\S+)")


def scrub(text: str) -> str:
    """``text`` with the last part of each absolute path for it, ``.../run.py``, and no secret."""
    text = text.replace("file://", "").replace(str(Path.home()) + "/", "~/")
    return hide(_PATH.sub(_last_part, _HOME.sub("~", text)))


def _last_part(found: re.Match[str]) -> str:
    last = found[1]
    return ".../" + ("" if last == _user() else last)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return ""


def _deep(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {scrub(str(k)): _deep(v) for k, v in value.items()}
    return [_deep(v) for v in value] if isinstance(value, list) else value


def scrub_launch(data: bytes) -> bytes:
    """A launch record without paths.  Raises ValueError for what is none."""
    from lawsweep.store.sweeps.records import parse_record

    record = parse_record(data)
    record.pop("pid", None)
    if isinstance(config := record.get("config"), dict):
        config["results_dir"] = "results"
        # Of an older launch, which hid nothing.
        for key in {"executor", "store", "sinks"} & config.keys():
            learn_settings(config.get(key))
            config[key] = hide_settings(config.get(key))
    if isinstance(record.get("overrides"), list):
        record["overrides"] = [
            o for o in hide_overrides(record["overrides"]) if not o.startswith("results_dir=")
        ]
    if isinstance(record.get("command"), str):
        record["command"] = _RESULTS_DIR.sub("", record["command"])
    return json.dumps(_deep(record), indent=1).encode()


def scrub_rows(rows: pa.Table) -> pa.Table:
    """Rows whose errors and tracebacks name no folder of this machine."""
    import pyarrow as pa

    for name in ("error", "traceback"):
        i = rows.schema.get_field_index(name)
        if i >= 0:
            texts = [None if t is None else scrub(t) for t in rows[name].to_pylist()]
            rows = rows.set_column(i, rows.schema.field(i), pa.array(texts, type=pa.string()))
    return rows


def plain_config(sweep: Sweep) -> dict[str, Any]:
    """The sweep as a file that stands for itself, its results beside it.

    Params and axes stay as they are, paths and all: they are what the run ids are made of.
    """
    config = json.loads(json.dumps(sweep.record(), default=str))
    for key in ("executor", "store"):
        if key in config:
            config[key] = _deep(config[key])
    # Who unpacks it is not to tell those who hear of launches here.
    return {**config, "preset": None, "results_dir": "results", "sinks": []}


def environment() -> bytes:
    """``name==version`` of every installed package, as pip reads it."""
    # ``metadata`` parses a file each time.
    read = (d.metadata for d in importlib.metadata.distributions())
    found = {m["Name"]: m["Version"] for m in read if m}
    lines = [f"{name}=={version}" for name, version in found.items() if name]
    head = f"# Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return "\n".join([head, *sorted(lines, key=str.lower), ""]).encode()


def sources(plan: Plan) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The experiment's own files, the local ones they import and what params name, and notes.

    None for an experiment of an installed package: its version says all.
    """
    experiment = plan.experiment
    found = source_of(experiment, plan.own_modules()).local()
    if any(name.startswith("__main__/") for name in found):
        return [], [
            f"the source of {experiment.name} is in no file: its text, as each launch had it, is "
            "in results/sweeps/*/launches/code-*.zip"
        ]
    return sorted(found.items()), []


_README = """\
{title}
{line}

{certificate}

Check first that every file is what it was (a run or a plot from here writes its own sweep.yaml,
figures and report over those in results/sweeps):

    sha256sum -c MANIFEST.sha256
    lawsweep verify .

Read it.  The rows are Parquet, results/tables/{experiment}/part-*.parquet, which pandas, DuckDB,
Polars and R open without lawsweep; every column carries its unit and meaning.  With lawsweep, from
this folder:

    lawsweep fit {typed}
    lawsweep plot {typed}
    lawsweep export {typed} -o {typed}.csv

Reproduce it.  environment.txt lists the packages and their versions on the machine that wrote
this archive; each record in results/sweeps/*/launches has those of its launch.  From this folder:

    lawsweep replay --sample 20 {typed}        # runs 20 random rows again and compares
    lawsweep run {typed}                       # says that nothing is left to run
    lawsweep run {typed} results_dir=again     # computes everything again
    lawsweep compare {typed} --against results_dir=again

The experiment: {source}
The code of each launch, as it ran: code-*.zip beside its record, which has the digest
The sweep, resolved: sweeps/{name}.yaml
Launches, first to last:

{launches}
"""


def readme(
    sweep: Sweep, certificate: str, launches: Sequence[bytes], source: Sequence[str]
) -> bytes:
    """README.txt: how to check, read and reproduce."""
    import shlex

    from lawsweep.store.sweeps.records import parse_record

    experiment = sweep.find_experiment()
    records = sorted(map(parse_record, launches), key=lambda r: str(r.get("started_at")))
    title = f"{sweep.name}: the results of a sweep of lawsweep {__version__}"
    text = _README.format(
        title=title,
        line="=" * len(title),
        name=sweep.name,
        certificate=certificate,
        experiment=experiment.name,
        typed=shlex.quote(sweep.name),
        source=", ".join(source) or f"{experiment.name}, of an installed package",
        launches="\n".join(map(_launch_line, records)) or "    none",
    )
    return text.encode()


def _launch_line(record: dict[str, Any]) -> str:
    git = record.get("git") or {}
    changes = ", with changes not committed" if git.get("dirty") else ""
    what = record.get("command") or f"(from Python; kind: {record.get('kind', 'run')})"
    return (
        f"    {record.get('launch_id')}  {what}\n"
        f"        git commit {git.get('commit') or 'unknown'}{changes}"
    )
