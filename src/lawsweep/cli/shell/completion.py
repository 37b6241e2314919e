"""What the Tab key offers: sweeps, presets, params with their values, run ids.

A shell asks by starting the command with ``_LAWSWEEP_COMPLETE`` set (click's own way; see
docs/sweeps.md for the line that switches it on).  Nothing that goes wrong is said here: no words
are offered, and the command itself says what is wrong.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import click
from click.shell_completion import CompletionItem

Offer: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_BEGINNING = 2  # letters of a run id, before all tables are looked through
_MOST = 20  # run ids at once, as many as a person looks at


def _offer(words: Callable[[click.Context, str], Iterable[str]]) -> Offer:
    """Words as click asks for them: from the project's root, and none where anything fails."""

    @functools.wraps(words)
    def offered(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        if "/" in incomplete and "=" not in incomplete:
            return [CompletionItem(incomplete, type="file")]
        with contextlib.suppress(Exception), _in_root(), contextlib.redirect_stderr(None):
            return [CompletionItem(word) for word in words(ctx, incomplete)]
        return []

    return offered


@contextlib.contextmanager
def _in_root() -> Iterator[None]:
    from lawsweep.config.project.root import project_root

    before = Path.cwd()
    os.chdir(project_root(before))
    try:
        yield
    finally:
        os.chdir(before)


@_offer
def sweeps_like(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Names of sweeps."""
    from lawsweep.config.files import sweep_names

    return [name for name in sweep_names() if name.startswith(incomplete)]


@_offer
def overrides_like(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Overrides: keys up to their ``=``, and the values of those that have few.

    bash hands ``preset=pa`` over in three words, zsh and fish in one.
    """
    before = [str(word) for word in ctx.params.get("overrides") or ()]
    return _overrides(str(ctx.params["sweep"]), before, incomplete)


@_offer
def sweeps_or_overrides_like(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Names of sweeps, and overrides of the last one that was named: for ``compare``."""
    from lawsweep.config.files import sweep_names

    words = [str(ctx.params["sweep"]), *map(str, ctx.params.get("others") or ())]
    at = max(i for i, word in enumerate(words) if i == 0 or word in sweep_names())
    found = list(_overrides(words[at], words[at + 1 :], incomplete))
    if "=" in incomplete or (words[at + 1 :] and words[-1] == "="):
        return found
    return [*(name for name in sweep_names() if name.startswith(incomplete)), *found]


def _overrides(sweep: str, before: list[str], incomplete: str) -> Iterable[str]:
    key, sign, value = incomplete.partition("=")
    if before and "=" not in before[-1] and not key:  # click takes a lone = for nothing
        key, prefix = before[-1], ""
    elif not sign and len(before) > 1 and before[-1] == "=":
        key, value, prefix = before[-2], incomplete, ""
    elif sign:
        prefix = f"{key}="
    else:
        found = [*_asked(sweep), *_keys(sweep)]
        return [k for k in dict.fromkeys(found) if k.startswith(incomplete) and k not in before]
    *earlier, last = value.split(",")
    stays = "".join(f"{v}," for v in earlier)
    values = _values(sweep, key)
    return [f"{prefix}{stays}{v}" for v in values if v.startswith(last) and v not in earlier]


def _asked(sweep: str) -> Iterator[str]:
    """Overrides under which the sweep has results: its variants, as ``list`` shows them."""
    from lawsweep.config.compose import load_sweep
    from lawsweep.core.errors import LawsweepError
    from lawsweep.study.questions import variants

    with contextlib.suppress(LawsweepError):
        for variant in variants(load_sweep(sweep)):
            yield from variant.overrides


def _keys(sweep: str) -> Iterator[str]:
    from lawsweep.config.project.catalogue import entry
    from lawsweep.core.registry import find_experiment

    yield from ("preset=", "seeds=", "executor=", "store=", "results_dir=")
    yield from (f"params.{s.name}=" for s in find_experiment(entry(sweep).experiment).params)


def _values(sweep: str, key: str) -> Iterable[str]:
    from lawsweep.config.project.catalogue import entry
    from lawsweep.core.registry import find_experiment
    from lawsweep.executors.make import executor_names

    if key == "preset":
        return entry(sweep).presets
    if key == "executor":
        return executor_names()
    if not key.startswith("params."):
        return ()
    specs = find_experiment(entry(sweep).experiment).params
    spec = next(s for s in specs if s.name == key.removeprefix("params."))
    return ("true", "false") if spec.kind == "bool" else map(str, spec.choices or ())


@_offer
def run_ids_like(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Run ids of the tables in the results folder: once a few letters say which are meant."""
    from lawsweep.config.project.defaults import results_folder
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.table.lookup import find_rows

    if len(incomplete) < _BEGINNING:
        return ()
    place = open_folder(results_folder(map(str, ctx.params.get("overrides") or ()))[0])
    return sorted(str(row["run_id"]) for row in find_rows(place / "tables", incomplete))[:_MOST]
