"""Several processes at one piece of work, as torchrun starts them; without torchrun there is one, the first.

They share the file system: what one writes the others read after a ``barrier``.
"""

import itertools
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import TypeVar, cast

import torch
from torch import distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous

from common.runtime.errors import PeerStopped, UserError

Content = TypeVar("Content")

PATIENCE = timedelta(days=7)  # a process may wait at a barrier while another trains; torchrun ends all when one fails
STOPPED = "stopped"  # the key that a process leaves which others wait for in vain
POLL = 0.02  # seconds between two looks at whether the others are done


_alone: ContextVar[bool] = ContextVar("works as if it were the only process", default=False)
_store: ContextVar[dist.Store | None] = ContextVar("what the processes count in", default=None)
_numbers = itertools.count()  # of what is shared out by claims, the same in every process


def rank() -> int:
    return 0 if _alone.get() else int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def world_size() -> int:
    return 1 if _alone.get() else int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def by_itself() -> Iterator[None]:
    """Within the block this process works as if there were no other: it shares nothing out and waits for none."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def require_whole_launch() -> None:
    """Raise UserError where only some of a launcher's variables are there.

    Such a process would do nothing, being no first one, or all of what several do.
    """
    there = [name for name in ("RANK", "WORLD_SIZE") if name in os.environ]
    numbers = {name: os.environ[name] for name in there}
    wrong = [f"{name}={value}" for name, value in numbers.items() if not value.isdecimal()]
    if wrong:
        raise UserError(f"{', '.join(wrong)} in the environment: expected a whole number; unset RANK and WORLD_SIZE")
    if there and (len(there) == 1 or rank() >= world_size()):
        shown = ", ".join(f"{name}={value}" for name, value in numbers.items())
        raise UserError(
            f"{shown} in the environment, which is no launch of several processes: a launcher such as torchrun sets "
            "RANK and WORLD_SIZE together. Unset them to work in one process (unset RANK WORLD_SIZE)"
        )
    if world_size() > 1:
        missing = [name for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise UserError(f"WORLD_SIZE={world_size()} in the environment, but not {', '.join(missing)}: use torchrun")


def is_first() -> bool:
    """Whether this process is the one that writes what there is only one of."""
    return rank() == 0


def say(text: str) -> None:
    """Print what one process is to say for all."""
    if is_first():
        print(text)


def share() -> slice:
    """Which items of a sequence are this process's: every item is in the share of exactly one process."""
    return slice(rank(), None, world_size())


@contextmanager
def processes() -> Iterator[None]:
    """Within the block the processes of torchrun can wait for each other."""
    if world_size() == 1:
        yield
        return
    store, number, count = next(rendezvous("env://", timeout=PATIENCE))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=PATIENCE)
    store = dist.PrefixStore(gather(uuid.uuid4().hex)[0], store)  # torchrun may start processes again on the old one
    token = _store.set(store)
    try:
        yield
        barrier()  # or torchrun would soon take those that have nothing left to do for lost
    except BaseException:
        with suppress(RuntimeError):  # where the store has gone with its host
            store.set(STOPPED, "")
        raise
    finally:
        _store.reset(token)
        dist.destroy_process_group()


def claims(count: int) -> Iterator[int]:
    """The numbers 0 … count - 1, each to the process that is free first, in order; it ends when all are done.

    A number is done when its process comes for the next one. Nobody waits for a process that has not begun. Every
    process must come here, with the same count, as often as the others.

    Raises UserError where another process has stopped.
    """
    store = None if world_size() == 1 else _store.get()
    if store is None:
        yield from range(count)
        return
    name = f"claims {next(_numbers)}"
    while (number := _counted(store, f"{name}, begun", 1) - 1) < count:
        yield number
        _counted(store, f"{name}, done", 1)
    while _counted(store, f"{name}, done", 0) < count:
        time.sleep(POLL)


def _counted(store: dist.Store, name: str, more: int) -> int:
    """A count that the processes share, with so many more."""
    with _complete():
        if store.check([STOPPED]):
            raise RuntimeError(STOPPED)
        return int(store.add(name, more))


def barrier() -> None:
    """Wait until every process is here. Raises UserError where one of them has stopped."""
    mean(0.0)


def gather(content: Content) -> list[Content]:
    """What every process has, in order of rank, in each of them."""
    if world_size() == 1:
        return [content]
    contents: list[Content | None] = [None] * world_size()
    with _complete():
        dist.all_gather_object(contents, content)
    return cast(list[Content], contents)


def alone() -> dict[str, str]:
    """The environment for a program that is to work by itself, on this process's device."""
    return {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}


def mean(value: float) -> float:
    """The mean of the processes' values, the same in each of them."""
    if world_size() == 1:
        return value
    total = torch.tensor([value], dtype=torch.float64)  # on the CPU, whatever the device is
    with _complete():
        dist.all_reduce(total)
    return float(total) / world_size()


@contextmanager
def _complete() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # the connection to one that has stopped
        own = f"rank {rank()} of {world_size()} on {socket.gethostname()}"
        raise PeerStopped(
            f"{own} stops, since another process has stopped: that one has said why, or, if it was killed, torchrun "
            "beside it names it"
        ) from error


def data_parallel(module: nn.Module) -> nn.Module:
    """The module, its gradients averaged over the processes."""
    return nn.parallel.DistributedDataParallel(module) if world_size() > 1 else module
