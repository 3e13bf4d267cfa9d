"""MPI by mpi4py: ranks that take items from a shared counter, or `MPICommExecutor` with a master that only gives out.

Both take a 256th of all items at a time, at least one.
"""

import array
import functools
import sys
import time

import items
from measure import calibrated, plan, report, run, variant, words, workload
from mpi4py import MPI

world = MPI.COMM_WORLD
rank = world.Get_rank()


class Counter:
    """A number that any rank takes from, on rank 0."""

    def __init__(self):
        self.window = MPI.Win.Allocate(8 if rank == 0 else 0, 8, comm=world)
        self.reset()

    def reset(self):
        world.Barrier()
        if rank == 0:
            self.window.Lock(0)
            self.window.Put(array.array("q", [0]), 0)
            self.window.Unlock(0)
        world.Barrier()

    def take(self, many):
        got = array.array("q", [0])
        self.window.Lock(0, MPI.LOCK_SHARED)
        self.window.Fetch_and_op(array.array("q", [many]), got, 0, 0, MPI.SUM)
        self.window.Unlock(0)
        return got[0]


def from_counter(counter, function, count, keep):
    at_a_time = max(1, count // 256)
    while (begin := counter.take(at_a_time)) < count:
        for item in range(begin, min(begin + at_a_time, count)):
            keep(function(item))


def shared():
    counter = Counter()
    if workload == "W4":
        kept = []
        part = functools.partial(items.count_part, plan["text"], plan["parts"])
        from_counter(counter, part, plan["parts"], kept.append)
        every = world.gather(kept)
        if rank == 0:
            words(lambda *_: sum(every, []))
        return
    if workload == "W5":
        every = world.gather(items.noop(7 + rank))
        if rank == 0:
            print(every[0], flush=True)
        return
    # Each rank says how fast its own core is.
    plan["calibrate_on"] = 1
    if rank == world.Get_size() - 1 and plan["slow_group"]:
        items.enter(plan["slow_group"])
    function = items.function(plan["steps"])
    for count in plan["counts"]:
        counter.reset()
        # A slow one waits, and the first speaks for both.
        before = calibrated() if rank == 0 or not plan["slow_group"] else None
        if rank == 0:
            print('{"began": true}', flush=True)
        world.Barrier()
        began = time.perf_counter()
        kept = array.array("Q")
        from_counter(counter, function, count, kept.append)
        every = world.gather(kept)
        wall = time.perf_counter() - began
        world.Barrier()
        after = calibrated() if rank == 0 or not plan["slow_group"] else None
        befores, afters = world.gather(before), world.gather(after)
        if rank == 0:
            report(count, mean(befores), wall, mean(afters), [result for part in every for result in part])


def mean(each):
    each = [one for one in each if one is not None]
    return sum(each) / len(each)


def master():
    from mpi4py.futures import MPICommExecutor

    if rank == 1 and plan["slow_group"]:
        items.enter(plan["slow_group"])
    with MPICommExecutor(world, root=0) as executor:
        if executor is None:
            return

        def submit(function, count):
            return list(executor.map(function, range(count), chunksize=max(1, count // 256)))

        run(submit, lambda: list(executor.map(items.warm, range(8))))


if variant == "master":
    master()
else:
    shared()
sys.stdout.flush()
