"""How a run is timed: the same for all systems, in the process that submits.

Each is started as `SYSTEM.py VARIANT PLAN`, where PLAN is a JSON file by `compare`. For items it prints a JSON line for
each count; for W4 and W5, where the whole command is timed from outside, the answer itself.
"""

import functools
import json
import sys
import threading
import time

import items

with open(sys.argv[2]) as file:
    plan = json.load(file)
variant = sys.argv[1]
workload = plan["workload"]


def calibrated():
    """Seconds that a unit of steps takes now, on as many threads as are wanted: the mean of some tenths of a second."""
    each = []

    def one():
        began = time.perf_counter()
        for item in range(plan["slice"]):
            items.spun(plan["unit"], item)
        each.append((time.perf_counter() - began) / plan["slice"])

    threads = [threading.Thread(target=one) for _ in range(plan["calibrate_on"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(each) / len(each)


def report(count, before, wall, after, results, **more):
    total = 0
    for result in results:
        total += result
    line = {"count": count, "wall": wall, "before": before, "after": after}
    line |= {"results": len(results), "sum": total % 2**64} | more
    print(json.dumps(line), flush=True)


def run(submit, warm, whole=None):
    """Runs the items of the plan: `submit(function, count)` gives the results, in any order; `warm()` comes before."""
    function = items.function(plan["steps"])
    for count in plan["counts"]:
        warm()
        before = calibrated()
        print('{"began": true}', flush=True)
        began = time.perf_counter()
        results = submit(function, count)
        wall = time.perf_counter() - began
        after = calibrated()
        more = {"whole": wall, "wall": whole()} if whole else {}
        report(count, before, more.pop("wall", wall), after, results, **more)
        if wall * 10 > plan["patience"]:
            break


def words(gather):
    """W4: `gather(function, parts)` gives what the function made of each part."""
    one, all_of_them = (items.counter_part, items.top_counter) if variant == "counter" else (items.count_part, items.top)
    # Of no module that workers could not import: this one reads the plan.
    part = functools.partial(one, plan["text"], plan["parts"])
    print(all_of_them(gather(part, plan["parts"])), end="", flush=True)
