"""A command as the function of an experiment: a program is started, and its JSON is the metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lawsweep.core.commands.process import Ended, run_process
from lawsweep.core.commands.reported import Reported
from lawsweep.core.commands.template import GIVEN, Template, fill, read_template
from lawsweep.core.definition import check_names
from lawsweep.core.during.under_way import current
from lawsweep.core.errors import InvalidValueError, nearest
from lawsweep.core.experiment import Experiment
from lawsweep.core.identity import run_id
from lawsweep.core.plain.decorator import Arguments
from lawsweep.core.plain.forms import NumberForm
from lawsweep.core.schema import MISSING, Field, FieldSpec, Kind, printable

LARGEST_SOURCE = 2**20  # a program beyond that is no text that somebody wrote
EXACT = 1e22  # powers of ten up to it are floats: their digits are what was written
LARGEST_FILE = 64 * 2**20  # of metrics
SHOWN = 4000  # characters of what it said last that a failed row keeps


class CommandError(Exception):
    """A command failed; the message says how, its note what it said last."""


@dataclass(frozen=True)
class Command:
    """Starts the program with a run's params: callable as a plain function is.

    ``root`` is the folder the sweep was loaded in: what a word names there is meant from there.
    ``place`` is where the runs' folders are; empty: in the machine's temporary folder.
    """

    template: Template
    name: str
    params: tuple[FieldSpec, ...]
    root: str
    place: str = ""
    is_command: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "__qualname__", self.name)
        object.__setattr__(self, "__doc__", f"The command {' '.join(self.template.run)}")

    def experiment(self) -> Experiment[Any]:
        """The experiment whose function this is."""
        return Experiment(
            name=self.name,
            version=self.template.version,
            function=self,
            params_type=Arguments,
            metrics_type=object,
            params=self.params,
            metrics=(),
            learns=True,
            spread=True,
            takes_seed=self.template.takes_seed,
            takes_device=True,
        )

    def sources(self) -> dict[str, bytes]:
        """What makes the rows: the command as it is written, and files that its words name."""
        written = [*self.template.run, *(f"{n}={v}" for n, v in self.template.env)]
        found = {f"command of {self.name}": "\n".join(written).encode("utf-8", "replace")}
        for word in self.template.run:
            file = Path(self.root, word)
            with suppress(OSError, ValueError):
                if file.is_file() and file.stat().st_size <= LARGEST_SOURCE:
                    found[word if not Path(word).is_absolute() else file.name] = file.read_bytes()
        return found

    def __call__(self, *, device: str = "cpu", seed: int = 0, **params: Any) -> Any:
        """Run it; its metrics.  Raises CommandError, and InvalidValueError for what is no JSON."""
        experiment = self.experiment()
        cast = {s.name: s.cast(params[s.name]) for s in self.params}
        named = run_id(experiment, cast, seed)
        with self._folder(named) as folder:
            out = self._metrics_file(folder)
            if out is not None:
                out.unlink(missing_ok=True)  # of an earlier attempt
            texts = {n: spelled(v) for n, v in params.items()}
            texts |= {"seed": str(seed), "device": device, "run_id": named, "folder": str(folder)}
            given = {n: _whole_number(v) for n, v in params.items()}
            texts |= {"root": self.root, "params": json.dumps(given)}
            words = self._whole(self.template.words(texts))
            env = self._environment(texts)
            here = current()
            reported = None if here is None else Reported(here.curve)
            ended = run_process(words, folder, env, self.template.log_bytes, reported)
            if reported is not None:
                reported.end()
            _check(ended, words)
            return _of_output(ended) if out is None else _of_file(out)

    def _whole(self, words: list[str]) -> list[str]:
        """Words that name a file of the root by its whole path: the run has another folder."""
        if self.template.shell:
            return words
        found = []
        for template, word in zip(self.template.run, words, strict=True):
            file = Path(self.root, word)
            there = template == word and not word.startswith("-") and _exists(file)
            found.append(str(file) if there and ("." in word or "/" in word) else word)
        return found

    def _environment(self, texts: Mapping[str, str]) -> dict[str, str]:
        """This process's, with the same Python first, the root importable, and what the run is."""
        before = os.environ
        path = [str(Path(sys.executable).parent), before.get("PATH", os.defpath)]
        imports = [self.root, *filter(None, [before.get("PYTHONPATH")])]
        told = {f"LAWSWEEP_{n.upper()}": texts[n] for n in GIVEN}
        own = {n: fill(v, texts) for n, v in self.template.env}
        named = {"LAWSWEEP_EXPERIMENT": self.name}
        first = {"PATH": os.pathsep.join(path), "PYTHONPATH": os.pathsep.join(imports)}
        return {**before, **first, **named, **told, **own}

    def _metrics_file(self, folder: Path) -> Path | None:
        return None if self.template.metrics is None else folder / self.template.metrics

    @contextmanager
    def _folder(self, named: str) -> Iterator[Path]:
        """The run's own folder; it stays or goes as ``keep`` has it."""
        if self.place:
            folder = Path(self.place, named)
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(tempfile.mkdtemp(prefix=f"lawsweep-{named[:8]}-"))
        failed = True
        try:
            yield folder
            failed = False
        finally:
            keep = self.template.keep
            if not self.place or keep == "never" or (keep == "failed" and not failed):
                shutil.rmtree(folder, ignore_errors=True)


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except (OSError, ValueError):
        return False


def spelled(value: Any) -> str:
    """A param as a word: ``true``, ``8``, ``0.1``, text as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(_whole_number(value))


def _whole_number(value: Any) -> Any:
    """A whole number as one: an option that takes an int reads no ``1e+17``."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < EXACT
    return int(value) if is_whole else value


def _check(ended: Ended, words: list[str]) -> None:
    """Raise CommandError for a program that could not be started, or did not end with 0."""
    if ended.code == 0:
        return
    last = next((line for line in reversed(ended.err.splitlines()) if line.strip()), "")
    said = f": {printable(last.strip()[:500])}" if last else ""
    if ended.code < 0:
        try:
            name = signal.Signals(-ended.code).name
        except ValueError:
            name = f"signal {-ended.code}"
        more = " (as the system does where memory runs out)" if name == "SIGKILL" else ""
        error = CommandError(f"{words[0]} was ended by {name}{more}{said}")
    else:
        error = CommandError(f"{words[0]} ended with exit code {ended.code}{said}")
    error.add_note(f"It said last:\n{ended.err[-SHOWN:] or ended.out[-SHOWN:]}")
    raise error


def _of_output(ended: Ended) -> Any:
    """The last line of the output that is a JSON mapping.

    A line that begins as one and cannot be read is not passed over: what stands before it may be
    of an earlier step.
    """
    lines = [line.strip() for line in ended.out.splitlines()]
    reason = ""
    for line in reversed(lines):
        if not line.startswith("{"):
            continue
        try:
            return _mapping(json.loads(line))
        except ValueError as error:
            reason = reason or f"its last line with a brace is no JSON ({error}): {line[:200]!r}"
            if re.match(r'\{\s*"', line):
                break
    raise InvalidValueError(
        f"The command printed no line of JSON{f'; {reason}' if reason else ''}. Print one mapping "
        "of metrics at its end, as print(json.dumps({...})), or write a file and name it under "
        "command.metrics."
    )


def _of_file(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InvalidValueError(
                f"{path.name} has {path.stat().st_size:,} bytes, and metrics have at most "
                f"{LARGEST_FILE:,}. Write what is large to a file of its own."
            )
        return _mapping(json.loads(path.read_bytes().decode("utf-8")))
    except FileNotFoundError:
        raise InvalidValueError(
            f"The command wrote no {path.name} (command.metrics) in its folder {path.parent}. "
            "Write it there: that is its working folder, and {folder} and LAWSWEEP_FOLDER."
        ) from None
    except UnicodeDecodeError:
        raise InvalidValueError(f"{path.name} is not UTF-8. Write it as UTF-8.") from None
    except OSError as error:
        raise InvalidValueError(
            f"{path.name} cannot be read: {error.strerror}. Write it where this user may read it."
        ) from None
    except ValueError as error:
        raise InvalidValueError(
            f"{path.name} is no JSON ({error}). Write one mapping of metrics."
        ) from None


def _mapping(found: Any) -> Any:
    if not isinstance(found, Mapping):
        raise ValueError(f"a mapping is expected, not {type(found).__name__}")
    return found


def command_experiment(
    said: Any, sweep: str, given: Mapping[str, Any], root: Path, results: str
) -> Experiment[Any]:
    """The experiment of a sweep's ``command``; ``given`` are its params, axes and derived fields.

    Its params are the placeholders (with ``{params}``, which is all of them as JSON, whatever the
    sweep gives), and a param is text, true or false, or a number as its values are.  Raises a
    LawsweepError with one sentence.
    """
    template = read_template(said, f"sweep {sweep}")
    values = _values(given)
    named = [n for n in template.placeholders if n not in GIVEN]
    if "params" in template.placeholders:
        named += [n for n in values if n not in named and n not in GIVEN]
    for name in named:
        if name not in values:
            close = nearest(name, [*values, *GIVEN])
            hint = f" Did you mean {{{close[0]}}}?" if close else ""
            raise InvalidValueError(
                f"The command of sweep {sweep} asks for {{{name}}}, and neither params, axes nor "
                f"derive gives it a value.{hint} (A brace of its own is written {{{{.)"
            )
    specs = tuple(_spec(name, values[name]) for name in named)
    name = template.name or re.sub(r"\W+", "_", sweep)
    name = name if name[:1].isalpha() else f"c_{name}"
    try:
        check_names(name, specs, ())
    except TypeError as error:
        raise InvalidValueError(f"{error}") from None
    place = "" if "://" in results else str(Path(root, results, "runs", name))
    return Command(template, name, specs, str(root), place).experiment()


def _spec(name: str, values: list[Any]) -> FieldSpec:
    texts = any(isinstance(v, str) for v in values)
    whole = [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
    for value in whole if not texts else ():
        if abs(value) > 2**1000 or float(value) != value:
            raise InvalidValueError(
                f"{name}={value} would be rounded: numbers of a command are floats. Quote it, and "
                "the other values of it, to have them as text."
            )
    flags = values and all(isinstance(v, bool) for v in values)
    kind: Kind = "str" if texts else "bool" if flags else "float"
    form = NumberForm() if kind == "float" else None
    return FieldSpec(name, kind, False, False, None, MISSING, Field(), None, form)


def _values(given: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Every name that a sweep gives a value, with the values that say of what type it is.

    An axis that is written as text is an expression over numbers, and so is what is derived.
    """
    found: dict[str, list[Any]] = {}
    for name, value in (given.get("params") or {}).items():
        found.setdefault(str(name), []).append(value)
    for name in given.get("derive") or {}:
        found.setdefault(str(name), [])
    _walk(given.get("axes"), found)
    return found


def _walk(axes: Any, found: dict[str, list[Any]]) -> None:
    """The axes of a block, those of blocks inside it too."""
    if isinstance(axes, Mapping):
        for key, value in axes.items():
            many = list(value) if isinstance(value, list | tuple) else [value]
            if isinstance(value, Mapping) or any(isinstance(v, Mapping) for v in many):
                for inner in many:
                    if isinstance(inner, Mapping):
                        _walk_inner(inner, found)
            else:
                plain = [] if isinstance(value, str) else many
                found.setdefault(str(key), []).extend(plain)
    elif isinstance(axes, list | tuple):
        for block in axes:
            _walk(block, found)


_INNER = ("params", "derive", "axes", "where", "if")  # of a grid inside axes


def _walk_inner(inner: Mapping[str, Any], found: dict[str, list[Any]]) -> None:
    """A grid of a union, a condition with its axes, or axes themselves."""
    for name, values in _values({k: inner[k] for k in _INNER if k in inner}).items():
        found.setdefault(name, []).extend(values)
    _walk({k: v for k, v in inner.items() if k not in _INNER}, found)
