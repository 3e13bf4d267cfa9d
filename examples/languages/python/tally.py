"""Sums a column of a table by the names in its first one.

The columns are parted by tabs, and counted from 1. A line is the chunk's number, a name, and its sum.
"""

import os
import sys
from collections import Counter


def main():
    column = int(sys.argv[1])
    sums = Counter()
    for number, line in enumerate(sys.stdin, start=1):
        fields = line.rstrip("\n").split("\t")
        try:
            sums[fields[0]] += int(fields[column - 1])
        except (IndexError, ValueError):
            sys.exit(f"line {number} has no number in column {column}")
    for name, total in sorted(sums.items()):
        print(os.environ["ESSAIM_CHUNK"], name, total, sep="\t")


main()
