"""What the workers of Python's systems run: the C library, and nothing that costs beside it."""

import collections
import ctypes
import functools
import os
import time

_lib = ctypes.CDLL(os.environ["PEERS_LIB"])
_spin = _lib.spin
_spin.argtypes, _spin.restype = [ctypes.c_uint64, ctypes.c_uint64], ctypes.c_uint64
_lib.count_part.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)]
_lib.count_part.restype = ctypes.c_void_p
_lib.top.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)]
_lib.top.restype = ctypes.c_void_p
_lib.release.argtypes = [ctypes.c_void_p]
_tried = False


def noop(item):
    return item & 255


def spun(steps, item):
    return _spin(item, steps)


def function(steps):
    """What is run for each item: `noop`, or so many steps."""
    return functools.partial(spun, steps) if steps else noop


def warm(item):
    """Takes so long that each worker gets some, and makes the first of them slow where that is wanted."""
    global _tried
    claim = os.environ.get("PEERS_SLOW_CLAIM")
    if claim and not _tried:
        _tried = True
        try:
            os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
            enter(os.environ["PEERS_SLOW_GROUP"])
        except FileExistsError:
            pass
    time.sleep(0.05)
    return item


def enter(group):
    """Puts this process, with all its threads, into a control group."""
    with open(os.path.join(group, "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))


def _taken(pointer, length):
    try:
        return ctypes.string_at(pointer, length.value)
    finally:
        _lib.release(pointer)


def count_part(path, parts, part):
    """Lines `word count` of one part of the text, in C."""
    length = ctypes.c_uint64()
    return _taken(_lib.count_part(path.encode(), part, parts, ctypes.byref(length)), length)


def top(counted):
    """The answer of W4 from what `count_part` gave, in C."""
    counted, length = b"".join(counted), ctypes.c_uint64()
    return _taken(_lib.top(counted, len(counted), ctypes.byref(length)), length).decode()


def counter_part(path, parts, part):
    """The same in Python, as its users write it."""
    size = os.path.getsize(path)
    begin, end = size * part // parts, size * (part + 1) // parts
    with open(path, "rb") as file:
        if begin:
            file.seek(begin - 1)
            file.readline()
        text = file.read(max(end - file.tell(), 0))
        if text and not text.endswith(b"\n"):
            text += file.readline()
    return collections.Counter(text.split())


def top_counter(counters):
    total = collections.Counter()
    for counter in counters:
        total.update(counter)
    best = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    lines = [f"total {sum(total.values())}"] + [f"{word.decode()} {count}" for word, count in best]
    return "\n".join(lines) + "\n"
