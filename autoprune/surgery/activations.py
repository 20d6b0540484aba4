"""What a traced forward holds in memory, and from which op to which."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from autoprune.surgery.ids import Ids
from autoprune.surgery.shadow import Shadow


@dataclass(slots=True)
class Made:
    """One piece of memory that an op took for its output.

    Args:
        op: Name of the op; ``input`` for the inputs of the model.
        size: Bytes in the dense model, for the traced batch.
        lines: Ids along each of its axes that may shrink.
        module: Name of the innermost module that ran the op.
        first: Number of the op.
        last: Number of the first op that runs after it was freed; the last op's, plus one, if
            it outlives the forward.
        prolonged: Whether this is not what the op made, but how much longer it lives where blocks
            after it are dropped.
    """

    op: str
    size: int
    lines: tuple[Ids, ...]
    module: str
    first: int
    last: int = -1
    prolonged: bool = False


Needed = tuple[Made, tuple[str, ...]]  # a piece of memory, and the blocks it needs one of
T = TypeVar("T")
_AHEAD = 50  # pieces looked through for one that is the same


@dataclass(slots=True)
class Activations:
    """Notes memory while ops run one after the other.

    Args:
        made: What was taken so far, by the order in which it was.
        through: By module called, which piece came in first and which one it gave.
        step: Number of the op that runs.
    """

    made: list[Made] = field(default_factory=list)
    through: dict[str, tuple[int, int]] = field(default_factory=dict)
    step: int = 0
    _alive: dict[int, tuple[StorageWeakRef, int]] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)

    def leave_out(self, tensors: Iterable[torch.Tensor]) -> None:
        """Do not count the memory of ``tensors``: those of the model are counted as its size."""
        self._known |= {x.untyped_storage()._cdata for x in tensors if x.layout == torch.strided}

    def begin(self) -> None:
        """Note that the next op runs, and what was freed before it."""
        self.step += 1
        for key, (reference, number) in list(self._alive.items()):
            if reference.expired():
                self.made[number].last = self.step
                del self._alive[key]

    def end(self) -> None:
        """Note that the forward is over: what is alive stays alive."""
        for _, number in self._alive.values():
            self.made[number].last = self.step + 1
        self._alive.clear()

    def note(self, op: str, output: torch.Tensor, shadow: Shadow, module: str) -> None:
        """Note an output, unless it lies in memory that is known already."""
        if output.layout != torch.strided:
            return
        storage = output.untyped_storage()
        known = storage._cdata in self._known or storage._cdata in self._alive
        if known or not storage.nbytes():
            return
        lines = tuple(track.ravel() for track in shadow.tracks)
        self._alive[storage._cdata] = (StorageWeakRef(storage), len(self.made))
        self.made.append(Made(op, storage.nbytes(), lines, module, self.step))

    def call(self, module: str, entered: int, left: int) -> None:
        """Note which piece of memory came into a module and which one it gave."""
        if entered >= 0 and left >= 0:
            self.through[module] = (entered, left)

    def number(self, tensor: torch.Tensor) -> int:
        """Return the number of the piece of memory a tensor lies in, -1 if it is none."""
        if tensor.layout != torch.strided:
            return -1
        found = self._alive.get(tensor.untyped_storage()._cdata)
        return found[1] if found else -1

    def split(self, blocks: Mapping[str, str]) -> Iterator[Needed]:
        """Yield every piece of memory, and the blocks of which one must be there for it to be.

        Args:
            blocks: Name of the unit by module.

        A block that is dropped gives its input. So its output is one piece of memory with its
        input, and with what that one is one with, as long as those are alive.
        """
        outputs = {self.through[m][1]: m for m in blocks if m in self.through}
        for number, piece in enumerate(self.made):
            now, before = piece.first, number
            needs: tuple[str, ...] = ()
            while before in outputs:
                block = outputs[before]
                if before == number:
                    piece = replace(piece, module=block.rpartition(".")[0])
                needs, before = (*needs, blocks[block]), self.through[block][0]
                until = min(max(self.made[before].last, now), piece.last)
                longer = len(needs) > 1
                yield replace(piece, first=now, last=until, prolonged=longer), needs
                now = until
            yield replace(piece, first=now, prolonged=bool(needs)), ()


def aligned(records: Sequence[Sequence[T]], alike: Callable[[T, T], bool]) -> Iterator[list[T]]:
    """Yield each piece of the first forward with those of the others that are the same.

    Forwards may differ: what a model computes once and keeps is made in the first one only.
    """
    at = [0] * len(records)
    for piece in records[0]:
        same = [piece]
        for number, other in enumerate(records[1:], 1):
            ahead = range(at[number], min(at[number] + _AHEAD, len(other)))
            found = next((n for n in ahead if alike(other[n], piece)), None)
            if found is not None:
                at[number] = found + 1
                same.append(other[found])
        yield same


def same_memory(one: Needed, other: Needed) -> bool:
    """Tell whether two forwards took a piece of memory for the same thing."""
    (left, needs), (right, others) = one, other
    return (left.op, left.module, left.size, needs) == (right.op, right.module, right.size, others)
