"""multiprocessing: `Pool.imap_unordered` (an item a message) and `Pool.map` (its own chunks: a quarter of a share)."""

import multiprocessing

import items
from measure import plan, run, variant, words, workload


def submit(pool):
    def ordered(function, count):
        return pool.map(function, range(count))

    def one_by_one(function, count):
        return list(pool.imap_unordered(function, range(count)))

    return ordered if variant == "map" else one_by_one


if __name__ == "__main__":
    with multiprocessing.Pool(plan["cores"]) as pool:
        if workload == "W4":
            words(lambda function, parts: pool.map(function, range(parts), chunksize=1))
        elif workload == "W5":
            print(pool.apply(items.noop, (7,)), flush=True)
        else:
            run(submit(pool), lambda: pool.map(items.warm, range(2 * plan["cores"]), chunksize=1))
