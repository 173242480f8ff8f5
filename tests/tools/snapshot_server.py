"""Runs commands for `snapshot.py`: each line of stdin is a folder and what follows `python`; prints exit codes.

Each command has a process of its own, forked from this one, which has the libraries loaded: importing them is nearly
all that a small run costs. `bench` itself is imported anew every time, as `python -m` does.
"""

import atexit
import gc
import json
import os
import runpy
import sys
import threading
import traceback

import click  # noqa: F401
import cv2  # noqa: F401
import faiss  # noqa: F401
import pandas  # noqa: F401
import pydantic  # noqa: F401
import scipy.optimize  # noqa: F401
import sklearn.cluster  # noqa: F401
import torchvision  # noqa: F401


def run(command: list[str]) -> int:
    """As `python -m MODULE …` or `python -c CODE` in this process; returns the exit code."""
    sys.argv = command[1:]
    try:
        if command[0] == "-m":
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            exec(command[1], {"__name__": "__main__"})
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter shows it
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    sys.path[0] = ""  # the folder of the command, as for `python -m`
    gc.freeze()
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for line in sys.stdin:
        folder, command = json.loads(line)
        child = os.fork()
        if not child:
            os.chdir(folder)
            for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, ".stdout", writing), (2, ".stderr", writing)):
                os.dup2(os.open(name, flags, 0o644), number)
            code = run(command)
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            os._exit(code)  # without taking the libraries apart, which takes a second
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


serve()
