"""Dask, distributed: `Client.map` (a task an item), or a bag (a hundred partitions), on a scheduler and two workers."""

import items
from distributed import Client
from measure import plan, run, variant, words, workload


def submit(client):
    def one_by_one(function, count):
        return client.gather(client.map(function, range(count), pure=False))

    def bag(function, count):
        import dask.bag

        return dask.bag.from_sequence(range(count)).map(function).compute(scheduler=client)

    return bag if variant == "bag" else one_by_one


if __name__ == "__main__":
    with Client(plan["address"]) as client:
        client.wait_for_workers(plan["cores"])
        if workload == "W4":
            words(submit(client))
        elif workload == "W5":
            print(client.submit(items.noop, 7, pure=False).result(), flush=True)
        else:
            warmed = range(4 * plan["cores"])
            run(submit(client), lambda: client.gather(client.map(items.warm, warmed, pure=False)))
