"""What the processes of one job exchange. In a job of one process everything here does nothing.

Every function is called by all processes, in the same order, or all of them wait.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ram_cli.engine.meeting import name_of_start
from ram_cli.processes import is_first, process_count, process_index

Item = TypeVar("Item")
Join = Callable[[Tensor], Tensor]
"""Makes the rows of a whole batch of the rows that this process has computed."""

PATIENCE = timedelta(hours=24)
"""How long a process waits for the others: the first one may be checking a million images. The
launcher ends all of them when one dies, so nobody waits for the dead."""

_ROWS = 1 << 25
"""Numbers that are sent at a time."""


def start_processes(device: torch.device) -> None:
    """Let the processes of the job find each other, over NCCL on GPUs and gloo on CPUs."""
    if process_count() > 1 and not dist.is_initialized():
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        store, index, count = next(rendezvous("env://", timeout=PATIENCE))
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=PrefixStore(name_of_start(store, index, count), store),
            rank=index,
            world_size=count,
            timeout=PATIENCE,
        )
        PartialState(cpu=not on_gpu)


def leave_processes() -> None:
    """Part in order, once all have done their work."""
    if dist.is_available() and dist.is_initialized():
        wait_for_all()
        dist.destroy_process_group()


def share(keys: Sequence[Item]) -> list[Item]:
    """The part of a batch that this process computes, as long for all of them.

    Where a batch does not divide, its last item stands in for what is missing; `joining` drops it.
    """
    size = -(-len(keys) // process_count())
    mine = list(keys[process_index() * size : (process_index() + 1) * size])
    return mine + [keys[-1]] * (size - len(mine))


def joining(total: int) -> Join:
    """How the rows of a batch of `total` items are made of those of the items of `share`.

    Each process has all rows afterwards, and its own with their gradient. Of a loss of all rows
    every process so gets the gradient by its own rows alone; summed over the processes, that is
    the gradient of the loss.
    """

    def join(rows: Tensor) -> Tensor:
        if process_count() == 1:
            return rows
        sent = _to_channel(rows.detach())
        parts = [torch.empty_like(sent) for _ in range(process_count())]
        dist.all_gather(parts, sent)
        parts = [part.to(rows.device) for part in parts]
        parts[process_index()] = rows
        return torch.cat(parts)[:total]

    return join


def merge_rows(rows: Tensor) -> None:
    """Fill in, on every process, the rows that others have computed; here those are all zero.

    Args:
        rows: `[N, *]`, on the CPU, changed in place.
    """
    if process_count() == 1 or not rows.numel():
        return
    step = max(1, _ROWS // max(1, rows[0].numel()))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        sent = _to_channel(part)
        dist.all_reduce(sent)
        part.copy_(sent)


def gather(item: Item) -> list[Item]:
    """What each process has, by their order."""
    if process_count() == 1:
        return [item]
    found: list[Item | None] = [None] * process_count()
    dist.all_gather_object(found, item)
    return found  # type: ignore[return-value]


def first_says(item: Item) -> Item:
    """What the first process has, on every process."""
    if process_count() == 1:
        return item
    said = [item]
    dist.broadcast_object_list(said, src=0)
    return said[0]


def by_first(make: Callable[[], Item]) -> Item:
    """What the first process makes, on every process; the others wait for it.

    For what is read from a disk, so that all have the very same, and not each reads all images.
    """
    return first_says(make() if is_first() else cast(Item, None))


def any_of(*flags: bool) -> list[bool]:
    """For each flag whether any process has it set."""
    if process_count() == 1:
        return list(flags)
    sent = _to_channel(torch.tensor(flags, dtype=torch.uint8))
    dist.all_reduce(sent, dist.ReduceOp.MAX)
    return [bool(flag) for flag in sent.tolist()]


def all_have(flag: bool) -> bool:
    """Whether all processes have the flag set."""
    return not any_of(not flag)[0]


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    if process_count() > 1:
        on_gpu = dist.get_backend() == "nccl"
        dist.barrier(device_ids=[torch.cuda.current_device()] if on_gpu else None)


@contextmanager
def first_one_first() -> Iterator[None]:
    """Let the first process do its work alone, and then the others, who find it done."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def _to_channel(rows: Tensor) -> Tensor:
    """The rows where the processes can exchange them, contiguous."""
    if dist.get_backend() == "nccl":
        rows = rows.to(torch.device("cuda", torch.cuda.current_device()))
    return rows.contiguous()


def is_lost_process(error: Exception) -> bool:
    """Whether an error is that of a message to a process that is gone."""
    if process_count() == 1 or not isinstance(error, RuntimeError):
        return False
    signs = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe")
    return any(sign in str(error) for sign in signs)
