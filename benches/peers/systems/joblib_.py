"""joblib: its processes (loky), which stay, and its own batches, which grow until each takes long enough."""

import items
from joblib import Parallel, delayed
from measure import plan, run, words, workload

with Parallel(n_jobs=plan["cores"]) as parallel:
    def submit(function, count):
        each = delayed(function)
        return parallel(each(item) for item in range(count))

    if workload == "W4":
        words(submit)
    elif workload == "W5":
        print(submit(items.noop, 8)[7], flush=True)
    else:
        run(submit, lambda: submit(items.warm, 4 * plan["cores"]))
