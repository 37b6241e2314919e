"""A device that pretends: CUDA's manners over CPU memory, for machines without a card.

Inside ``with Card() as card:`` a tensor made on ``cuda``, or moved there, is a :class:`There`: it
says ``cuda:0``, holds a CPU tensor and computes on it, so its values are real.  What CUDA refuses
is refused in the same words: operations on tensors of two devices (but for numbers), ``numpy()``.
What a card pays for is counted by the line of lawsweep that asks for it: values that come back
(``item``, ``bool``, ``float``, ``tolist``, ``cpu``), waits inside torch's own operations, values
that go there, operations sent.

Its tensors' bytes are counted too (``memory``), and it can be given a size.  It has one stream, one
card and no clock, and its rounding is the CPU's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from card_graph import Graph
from card_memory import Memory, patched
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
CARD, HOST = torch.device("cuda:0"), torch.device("cpu")

# Operations in which torch waits for the card: how large the result is depends on values, or a
# factorisation's verdict is read.
WAITS = frozenset(
    (
        aten.nonzero,
        aten.masked_select,
        aten._unique2,
        aten.unique_consecutive,
        aten.unique_dim,
        aten.bincount,
        aten.equal,
        aten.is_nonzero,
        aten._linalg_check_errors,
        aten._linalg_eigh,
        aten._linalg_svd,
        aten.linalg_eig,
        aten.linalg_lstsq,
        aten.repeat_interleave,
    )
)
# Functions of tensors that no operation of torch's shows.
OWN = frozenset((torch.Tensor.cpu, torch.Tensor.data_ptr, torch.Tensor.new_tensor))
INDEXING = frozenset((aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_))
READS = frozenset(
    (
        torch.Tensor.item,
        torch.Tensor.tolist,
        torch.Tensor.__bool__,
        torch.Tensor.__float__,
        torch.Tensor.__int__,
        torch.Tensor.__index__,
        torch.Tensor.__complex__,
        torch.Tensor.__contains__,
    )
)
BY_PLACE = frozenset((torch.Tensor.__getitem__, torch.Tensor.__setitem__))
NUMPY = frozenset((torch.Tensor.numpy, torch.Tensor.__array__))
GIVEN = frozenset(
    (torch.tensor, torch.as_tensor, torch.asarray)
)  # their numbers come from the host


SEEN = READS | NUMPY | BY_PLACE | OWN


@dataclass
class Counts:
    """What was asked of the card, by file and line of lawsweep."""

    reads: Counter[str] = field(default_factory=Counter)  # values that came to the host
    waits: Counter[str] = field(default_factory=Counter)  # operations that wait for the card
    uploads: Counter[str] = field(default_factory=Counter)  # copies from the host's memory
    operations: Counter[str] = field(default_factory=Counter)

    def __sub__(self, before: Counts) -> Counts:
        pairs = ((getattr(self, f.name), getattr(before, f.name)) for f in fields(Counts))
        return Counts(*(now - then for now, then in pairs))

    def __str__(self) -> str:
        return "\n".join(
            f"{f.name}: {(c := getattr(self, f.name)).total()} "
            f"({', '.join(f'{line} {n}' for line, n in c.most_common(8))})"
            for f in fields(Counts)
        )


class There(torch.Tensor):
    """A tensor that says it is on the card; ``here`` has its numbers."""

    here: torch.Tensor
    card: Card

    @staticmethod
    def __new__(cls, here: torch.Tensor, card: Card) -> There:
        # Meta for torch's C++, which has no guard for a card that is not there.
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            layout=here.layout,
            device="meta",
        )
        card.memory.hold(here)
        made.here, made.card = here, card
        return made

    device = property(lambda self: CARD)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"There({self.here!r})"

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func not in SEEN:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        if func in NUMPY:
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
                "tensor to host memory first."
            )
        if func in READS:
            tensor, *rest = args
            card = _card_of(args)
            card.counts.reads[_asker()] += 1
            return func(_here(tensor), *_here(rest), **(kwargs or {}))
        if func is torch.Tensor.cpu:
            args[0].card.counts.reads[_asker()] += 1
            return args[0].here.clone()
        if func in BY_PLACE and _has_list(args[1]):
            # torch's C++ would make its numbers on meta, where there are none.
            return func(args[0], _listed(args[1]), *args[2:], **(kwargs or {}))
        if func is torch.Tensor.data_ptr:
            return args[0].here.data_ptr()
        if func is torch.Tensor.new_tensor:
            card = args[0].card
            card.counts.uploads[_asker()] += 1
            return There(func(args[0].here, *_here(args[1:]), **_here(kwargs or {})), card)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _card_of((args, kwargs)).sent(func, args, kwargs or {})


class Card(TorchFunctionMode):
    """The card that is pretended: while it is entered ``cuda`` is there."""

    def __init__(self, memory_bytes: float = 80 * 2**30) -> None:
        super().__init__()
        self.counts, self.memory = Counts(), Memory(memory_bytes)
        self.graph: Graph | None = None  # while one is recorded
        self._beside, self._before = _Beside(self), {}

    def __enter__(self) -> Card:
        if not torch.cuda.is_available():
            for name, says in patched(self.memory).items():
                self._before[name] = getattr(torch.cuda, name)
                setattr(torch.cuda, name, says)
        self._beside.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._beside.__exit__(*error)
        for name in list(self._before):
            setattr(torch.cuda, name, self._before.pop(name))

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """What the block asks for, known where it ends."""
        before = Counts(*(getattr(self.counts, f.name).copy() for f in fields(Counts)))
        found = Counts()
        yield found
        for name, value in vars(self.counts - before).items():
            setattr(found, name, value)

    # -- what is made on the card, and what is moved

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.to:
            return self._moved(args[0], args[1:], kwargs)
        if func is torch.Tensor.cuda:
            return self._moved(args[0], (CARD,), {})
        if kwargs and _is_card(kwargs.get("device")):
            counts = self.counts.uploads if func in GIVEN else self.counts.operations
            counts[_asker()] += 1
            return There(func(*_here(args), **_here({**kwargs, "device": HOST})), self)
        return func(*args, **kwargs)

    def _moved(self, tensor: torch.Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """``Tensor.to``: a device, a dtype, both, or those of another tensor."""
        named = [*args, *kwargs.values()]
        to_card = any(_is_card(a) or isinstance(a, There) for a in named)
        to_host = not to_card and any(_is_host(a) or isinstance(a, torch.Tensor) for a in named)
        plain = [HOST if _is_card(a) else _here(a) for a in args]
        pairs = {k: HOST if _is_card(v) else _here(v) for k, v in kwargs.items()}
        if not isinstance(tensor, There):
            got = torch.Tensor.to(tensor, *plain, **pairs)
            if not to_card:
                return got
            self.counts.uploads[_asker()] += 1
            return There(got.clone() if got is tensor else got, self)
        got = torch.Tensor.to(tensor.here, *plain, **pairs)
        if to_host:
            self.counts.reads[_asker()] += 1
            return got.clone() if got is tensor.here else got
        if got is tensor.here:
            return tensor
        self.counts.operations[_asker()] += 1
        return There(got, self)

    # -- arithmetic

    def sent(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operation of torch with a tensor of the card, or made beside one."""
        packet, line = func.overloadpacket, _asker()
        tensors: list[torch.Tensor] = []
        here_args, here_kwargs = _plain(args, tensors), _plain(kwargs, tensors)
        known = {id(t.here): t for t in tensors if type(t) is There}
        if packet is aten.copy_:
            self._copied(args[0], args[1], line)
        else:
            if len(known) < len(tensors):
                self._one_device(packet, func, args, tensors, line)
            self.counts.operations[line] += 1
            if packet is aten._local_scalar_dense:
                self.counts.reads[line] += 1
            if packet in WAITS or (packet in INDEXING and _by_mask(args)):
                self.counts.waits[line] += 1
        if "device" in here_kwargs:
            here_kwargs["device"] = HOST
        call = func if self.graph is None else partial(self._recorded, func)
        out = call(*here_args, **here_kwargs)
        if packet is aten.copy_ and not isinstance(args[0] if args else None, There):
            return args[0]
        for there in known.values() if func._schema.is_mutable else ():
            here = there.here
            if there.shape != here.shape or there.stride() != here.stride():  # squeeze_, out=
                with torch._C._DisableTorchDispatch():
                    there.as_strided_(here.shape, here.stride(), here.storage_offset())
        return _wrapped(out, known, self)

    def _recorded(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        assert self.graph is not None
        return self.graph.record(func, args, kwargs)

    def _copied(self, into: torch.Tensor, source: torch.Tensor, line: str) -> None:
        if not isinstance(into, There):
            self.counts.reads[line] += 1
        elif not isinstance(source, There):
            self.counts.uploads[line] += 1
        else:
            self.counts.operations[line] += 1

    def _one_device(
        self, packet: Any, func: Any, args: Any, tensors: Sequence[torch.Tensor], line: str
    ) -> None:
        # Numbers of no dimension may come from the host.
        strangers = [t for t in tensors if not isinstance(t, There) and t.ndim]
        if not strangers:
            return
        if packet in INDEXING and isinstance(args[0], There):
            places = [t for t in args[1] if isinstance(t, torch.Tensor)]
            if all(any(s is p for p in places) for s in strangers):
                self.counts.uploads[line] += 1  # indices are carried over at each call
                return
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"cuda:0 and cpu! ({func} at {line})"
        )


class _Beside(TorchDispatchMode):
    """Tensors that torch's own C++ makes for a card's: it is told that their device is meta."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self._card = card

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and torch's guard against it is a quarter of the time."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        beside = getattr(kwargs.get("device"), "type", None) == "meta"
        if beside or There in types:
            out = self._card.sent(func, args, kwargs)
            return There(out, self._card) if beside and type(out) is torch.Tensor else out
        return func(*args, **kwargs)


_FILES: dict[Any, str] = {}  # by code: its file in lawsweep, empty elsewhere


def _asker() -> str:
    """The line of lawsweep that asks, ``kernels/eigmin/few.py:31``."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        name = _FILES.get(code)
        if name is None:
            _, found, rest = code.co_filename.rpartition("/src/lawsweep/")
            name = _FILES[code] = rest if found else ""
        if name:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def _is_card(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.partition(":")[0] == "cuda"


def _is_host(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cpu"
    return isinstance(value, str) and value == "cpu"


def _card_of(value: Any) -> Card:
    return next(t.card for t in _tensors(value) if isinstance(t, There))


def _tensors(value: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    _gather((value,), found)
    return found


def _gather(values: Any, found: list[torch.Tensor]) -> None:
    """In a list, and not one after the other as asked: there are some thousands a second."""
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            _gather(value, found)
        elif isinstance(value, dict):
            _gather(value.values(), found)


def _here(value: Any) -> Any:
    return _plain(value, [])


def _plain(value: Any, found: list[torch.Tensor]) -> Any:
    """The host's tensors in place of the card's; ``found`` takes in all of them, once each."""
    kind = type(value)
    if kind is There:
        found.append(value)
        return value.here
    if kind is tuple or kind is list:
        return kind([_plain(v, found) for v in value]) if value else value
    if kind is dict:
        return {k: _plain(v, found) for k, v in value.items()}
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):  # torch.Size, and what operations return
        return kind(_plain(v, found) for v in value) if value else value
    return value


def _has_list(place: Any) -> bool:
    each = place if isinstance(place, tuple) else (place,)
    return any(isinstance(one, (list, np.ndarray)) for one in each)


def _listed(place: Any) -> Any:
    """An index with the host's tensors in place of its lists."""
    if isinstance(place, tuple):
        return tuple(map(_listed, place))
    return torch.as_tensor(place) if isinstance(place, (list, np.ndarray)) else place


def _wrapped(value: Any, known: dict[int, There], card: Card) -> Any:
    if isinstance(value, torch.Tensor) and type(value) is not There:
        return known[id(value)] if id(value) in known else There(value, card)
    if isinstance(value, (tuple, list)):
        return type(value)(_wrapped(v, known, card) for v in value)
    return value


def _by_mask(args: Sequence[Any]) -> bool:
    """Indexing by a mask waits: how many are taken depends on values."""
    return any(t.dtype in (torch.bool, torch.uint8) for t in _tensors(args[1]))
