"""GNU parallel and xargs: a process an item, or (`parallel -X`) as many items a process as share the work evenly."""

import os
import shlex
import subprocess
import tempfile

from measure import plan, run, variant, workload

work, cores = plan["work"], str(plan["cores"])
COMMANDS = {
    "parallel": ["parallel", "--will-cite", "-j", cores],
    "parallel-x": ["parallel", "--will-cite", "-j", cores, "-X"],
    "xargs": ["xargs", "-P", cores, "-n", "1", "--process-slot-var=SLOT"],
}
if workload == "W7":
    # Who expects losses says so; xargs has no such thing.
    COMMANDS["parallel"] += ["--retries", "3"]
    COMMANDS["parallel-x"] += ["--retries", "3"]


def submit(_, count):
    verb = ["spin", str(plan["steps"])] if plan["steps"] else ["noop"]
    numbers = "".join(f"{item}\n" for item in range(count))
    done = subprocess.run([*COMMANDS[variant], work, *verb], input=numbers, stdout=subprocess.PIPE, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def text():
    path, parts = shlex.quote(plan["text"]), plan["parts"]
    if variant == "xargs":
        with tempfile.TemporaryDirectory() as scratch:
            count = f"{work} count {path} {{}} {parts} > {scratch}/{{}}"
            return shell(f"seq 0 {parts - 1} | xargs -P {cores} -I{{}} sh -c '{count}' && cat {scratch}/* | {work} top")
    of_parts = f"parallel --will-cite -j {cores} --pipepart -a {path} --block -{parts // int(cores)}"
    if variant == "parallel":
        return shell(f"{of_parts} {work} count | {work} top")
    counts = "{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) print w, n[w] }"
    total = "{ n[$1] += $2; t += $2 } END { print \"total\", t; for (w in n) print w, n[w] | \"sort -k2,2nr -k1,1 | head\" }"
    return shell(f"{of_parts} awk {shlex.quote(shlex.quote(counts))} | awk {shlex.quote(total)}")


def shell(line):
    return subprocess.run(line, shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout


if workload == "W4":
    # Locale-free, as whoever wants speed sets it.
    os.environ["LC_ALL"] = "C"
    print(text(), end="")
else:
    run(submit, lambda: submit(None, 4))
