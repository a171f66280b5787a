"""Whether a pickle can be run within bounds, found out by reading it: an unpickler allocates what it is told to.

A few bytes may ask for gigabytes (an index into the memo), for ever (the hash of a tuple of tuples that share their
items), or for more stack than there is. What is asked of a file of tensors is far from that.
"""

from __future__ import annotations

import pickletools
from typing import IO

MOST_OPERATIONS = 4_000_000  # a checkpoint has about 25 for each tensor
MOST_TUPLE = 10_000  # items of a tuple and of those in it, counted each time they occur
LENGTH = 8  # bytes of the longest number that says how many follow
MOST = 2**256  # of a whole number: a magic number has 80 bits, the state of NumPy's generator 128 without a sign
PUTS, GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
Stack = list["int | None"]  # of each value how many items a hash of it would visit, and MARK
HASHED = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}  # what is hashed item by item


MARK = None  # stands on the stack where an operation that takes all since then ends


class Bounded:
    """A file that is never asked for more than it holds."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size
        self.tell, self.readline = file.tell, file.readline

    def read(self, count: int) -> bytes:
        if count > LENGTH:
            self.check(count)
        return self.file.read(count)

    def check(self, count: int) -> None:
        """Raise ValueError unless so many bytes follow."""
        if count > self.size - self.file.tell():
            raise ValueError(f"it says that {count} bytes follow, and it ends before")


def check(file: IO[bytes], size: int) -> None:
    """Read a pickle to its end; ValueError with what it asks for that no file of tensors does. It is not run."""
    stack: Stack = []
    memo: dict[int, int | None] = {}
    bounded = Bounded(file, size)
    for number, (operation, argument, _) in enumerate(pickletools.genops(bounded)):  # type: ignore[arg-type]
        if number > MOST_OPERATIONS:
            raise ValueError(f"it takes more than {MOST_OPERATIONS} operations to read it")
        if isinstance(argument, int) and not -MOST <= argument < MOST:
            raise ValueError("it holds a whole number beyond 256 bits")
        if operation.name == "FRAME":
            bounded.check(int(argument or 0))
        elif operation.name in PUTS or operation.name == "MEMOIZE":
            remember(memo, len(memo) if argument is None else argument, stack)
        elif operation.name in GETS:
            stack.append(memo[int(argument or 0)])
        else:
            stack += results(operation, taken(operation, stack))


def remember(memo: dict[int, int | None], place: int, stack: Stack) -> None:
    """Note what is on top; places follow one another, for as much memory as the largest is taken."""
    if place > len(memo) + 1:  # Python 2 counts them from 1
        raise ValueError(f"it remembers a value in place {place}, and only {len(memo)} were taken")
    memo[place] = stack[-1]


def taken(operation: pickletools.OpcodeInfo, stack: Stack) -> list[int]:
    """Return what an operation takes from the stack; IndexError if there is not so much."""
    before, found = operation.stack_before, []
    if pickletools.markobject in before:
        while (one := stack.pop()) is not MARK:
            found.append(one)
        before = before[:before.index(pickletools.markobject)]
    return [*found, *(stack.pop() or 1 for _ in before)]


def results(operation: pickletools.OpcodeInfo, found: list[int]) -> Stack:
    """Return what an operation puts on the stack."""
    if operation.name == "MARK":
        return [MARK]
    weight = 1 + sum(found) if operation.name in HASHED else 1
    if weight > MOST_TUPLE:
        raise ValueError(f"it holds a tuple of more than {MOST_TUPLE} items")
    return [*found, *found] if operation.name == "DUP" else [weight] * len(operation.stack_after)
