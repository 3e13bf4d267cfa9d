"""essaim: `essaim run` by an author that does not work itself, with two workers that are up; its own splitting.

Timed from `submitted` to the last result by its own clock (`job_seconds`), and as a whole command.
"""

import json
import subprocess

from measure import plan, run, workload

seconds = {}


def submit(_, count):
    command = [*plan["essaim"], "--json", plan["items_wasm"], f"0..{count}", "--", str(plan["steps"])]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    events = {}
    for line in done.stderr.splitlines():
        event = json.loads(line)
        events[event["event"]] = event
    seconds["job"] = events["done"]["job_seconds"]
    return [int(line) for line in done.stdout.split()]


run(submit, lambda: submit(None, 16), whole=lambda: seconds["job"])
