"""Ray: a task an item, or `ray.util.multiprocessing.Pool` with its own chunks, on nodes that are up."""

import os
import sys

import items
import ray
from measure import plan, run, variant, words, workload


def tasks(function, count):
    task = ray.remote(function)
    return ray.get([task.remote(item) for item in range(count)])


def wrapped(function, count):
    # A remote function must be one, and not a partial.
    return tasks(lambda item: function(item), count)


if __name__ == "__main__":
    ray.init(address=plan["address"], log_to_driver=False, logging_level="error")
    if workload == "W4":
        words(wrapped)
    elif workload == "W5":
        print(ray.get(ray.remote(items.noop).remote(7)), flush=True)
    elif variant == "pool":
        from ray.util.multiprocessing import Pool

        pool = Pool(plan["cores"])
        run(lambda function, count: pool.map(function, range(count)), lambda: pool.map(items.warm, range(8), chunksize=1))
    else:
        run(wrapped, lambda: tasks(items.warm, 4 * plan["cores"]))
    # Its orderly end takes seconds, and all has been printed.
    sys.stdout.flush()
    os._exit(0)
