"""Every error text of the source, found by its syntax tree: no module is imported.

A text is what stands after ``raise SomeError(``, put together as far as the tree tells: constants,
f-strings, names that the function or the module gives a text, functions of the module that return
one.  What is only known at run time is ``…``, the text of another error of the house that is
handed on ``‹error›``; alternatives of a piece are ``a | b`` in brackets.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOTS = {"LawsweepError"}
ELLIPSIS, HANDED_ON = "…", "‹error›"
DEEP = 6  # names of names


@dataclass(frozen=True)
class Entry:
    """A text, the class of its error, and the file it is raised in."""

    kind: str
    text: str
    file: str


@dataclass
class Scope:
    """What names stand for, in a function and around it."""

    names: dict[str, list[ast.expr]] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    outer: Scope | None = None

    def values(self, name: str) -> list[ast.expr]:
        found = self.names.get(name)
        return found if found is not None else self.outer.values(name) if self.outer else []

    def function(self, name: str) -> ast.FunctionDef | None:
        return self.functions.get(name) or (self.outer.function(name) if self.outer else None)


def entries(source: Path) -> list[Entry]:
    """All of them, sorted."""
    texts = {p: p.read_text(encoding="utf-8") for p in sorted(source.rglob("*.py"))}
    trees = {p: ast.parse(t) for p, t in texts.items() if "Error" in t}
    kinds = error_classes(trees.values())
    anywhere, found, worded = Scope(), set(), set()
    for tree in trees.values():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                anywhere.functions[node.name] = node
            elif isinstance(node, ast.ClassDef) and any(_of_class(node, anywhere)):
                worded.add(node.name)
    for path, tree in trees.items():
        _mark_handed_on(tree, kinds)
        file = path.relative_to(source).as_posix()
        # What is wrong with somebody's function is a TypeError to who decorates it.
        here = kinds | {"TypeError"} if file.startswith("core/") else kinds
        for kind, text in raised(tree, here, anywhere):
            if not (text == ELLIPSIS and kind in worded):  # its class words it
                found.add(Entry(kind, text, file))
    return sorted(found, key=lambda e: (e.kind, e.file, e.text))


def error_classes(trees) -> set[str]:
    """The house's own error classes, by what they inherit from."""
    parents = {
        node.name: {getattr(b, "id", getattr(b, "attr", "")) for b in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = set(ROOTS)
    while more := {n for n, bases in parents.items() if bases & found} - found:
        found |= more
    return found


def raised(tree: ast.Module, kinds: set[str], anywhere: Scope) -> Iterator[tuple[str, str]]:
    """(class, text) of each error that is made in a module, raised there or elsewhere.

    ``anywhere`` has the functions of other modules.
    """
    top = Scope(outer=anywhere)
    _fill(top, tree.body)
    yield from _within(tree.body, top, kinds)


def _mark_handed_on(tree: ast.Module, kinds: set[str]) -> None:
    """Where an error of the house is caught, its name stands for the text that it has."""
    for handler in (n for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.name):
        caught = {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(handler.type)}
        if caught & kinds:
            for part in ast.walk(handler):
                if isinstance(part, ast.Name) and part.id == handler.name:
                    part.id = HANDED_ON


def _within(body, scope: Scope, kinds: set[str]) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = Scope(outer=scope)
            _fill(inner, node.body)
            yield from _within(node.body, inner, kinds)
            continue
        if isinstance(node, ast.Call) and (kind := _kind(node, kinds)) is not None:
            yield kind, _message(node, scope)
        elif isinstance(node, ast.ClassDef) and node.name in kinds:
            yield from ((node.name, text) for text in _of_class(node, scope))
        yield from _within(ast.iter_child_nodes(node), scope, kinds)


def _of_class(node: ast.ClassDef, scope: Scope) -> Iterator[str]:
    """The text that an error gives itself when it is made."""
    for part in ast.walk(node):
        is_init = isinstance(part, ast.Call) and getattr(part.func, "attr", "") == "__init__"
        if is_init and part.args and (text := _message(part, scope)) != ELLIPSIS:
            yield text


def _kind(call: ast.Call, kinds: set[str]) -> str | None:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    return name if name in kinds else None


def _message(call: ast.Call, scope: Scope) -> str:
    return re.sub(r"\s+", " ", text_of(call.args[0], scope)) if call.args else ELLIPSIS


def _fill(scope: Scope, body) -> None:
    """Names and functions of a body, those of its functions left out."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            scope.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    scope.functions.setdefault(part.name, part)
        else:
            for part in ast.walk(node):
                if isinstance(part, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
                    _assigned(scope, part)


def _assigned(scope: Scope, node) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        if isinstance(target, ast.Name) and node.value is not None:
            scope.names.setdefault(target.id, []).append(node.value)
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            for one, value in zip(target.elts, node.value.elts, strict=False):
                if isinstance(one, ast.Name):
                    scope.names.setdefault(one.id, []).append(value)


def text_of(node: ast.expr, scope: Scope, depth: int = DEEP) -> str:
    """The text as far as the tree tells."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ELLIPSIS
    if isinstance(node, ast.JoinedStr):
        return "".join(
            text_of(v.value if isinstance(v, ast.FormattedValue) else v, scope, depth)
            for v in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left, scope, depth) + text_of(node.right, scope, depth)
    if isinstance(node, ast.IfExp):
        return _either([text_of(n, scope, depth) for n in (node.body, node.orelse)])
    if isinstance(node, ast.BoolOp):
        return _either([text_of(n, scope, depth) for n in node.values])
    if isinstance(node, ast.NamedExpr):
        return text_of(node.value, scope, depth)
    if isinstance(node, ast.Name) and node.id == HANDED_ON:
        return HANDED_ON
    if depth and isinstance(node, ast.Name):
        return _either([text_of(v, scope, depth - 1) for v in scope.values(node.id)])
    if depth and isinstance(node, ast.Call):
        return _returned(node, scope, depth)
    return ELLIPSIS


def _returned(call: ast.Call, scope: Scope, depth: int) -> str:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if name == "str" and call.args:
        return text_of(call.args[0], scope, depth)
    function = scope.function(name)
    if function is None:
        return ELLIPSIS
    inner = Scope(outer=scope)
    _fill(inner, function.body)
    returns = [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value]
    return _either([text_of(value, inner, depth - 1) for value in returns])


def _either(texts: list[str]) -> str:
    known = [t for t in dict.fromkeys(texts) if t.strip(f"{ELLIPSIS} ")]
    if not known:
        return ELLIPSIS
    return known[0] if len(texts) == 1 else f"[{' | '.join(known)}]"
