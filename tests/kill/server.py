"""Server: a process that has loaded everything and forks one child for each command, so that a start costs nothing.

It reads one JSON object a line (`folder`, `arguments`, `at`, `signals`, `gap`, `log`) and answers with the exit code. A
child is a whole `bench`: it ends as the interpreter ends, but for taking its modules apart, which takes seconds.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

import bench
from tests.kill.faults import Steps

LIBRARIES = (
    "cv2", "faiss", "filelock", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "rich.progress", "scipy.sparse",
    "sklearn.cluster", "torch._dynamo", "torch.utils.tensorboard",
)  # fmt: skip
PATIENCE = 120
"""Seconds after which a command counts as hung: it prints where, and ends."""


def serve() -> None:
    modules = (module.name for module in pkgutil.walk_packages(bench.__path__, "bench."))
    for name in (*LIBRARIES, *(name for name in modules if name != "bench.__main__")):
        importlib.import_module(name)
    gc.freeze()  # what is not touched is not copied for a child
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            end(become(job))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(code), flush=True)


def end(code: int) -> NoReturn:
    """End this process: wait for its threads, do what is to be done at exit, and flush what was printed."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def become(job) -> int:
    """Be a `bench` with these arguments in that folder; returns its exit code."""
    from bench.cli import main

    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(stream, target)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    os.chdir(job["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    steps = Steps(Path(job["folder"]), job["at"], job["signals"], job["gap"])
    steps.install(Path(job["log"]).with_suffix(".steps"))
    try:
        main(job["arguments"])
    except SystemExit as left:
        return left.code


if __name__ == "__main__":
    serve()
