"""Server: a process that has loaded everything and forks one child for each command, so that a start costs nothing.

It reads one JSON object a line (`folder`, `arguments`, `at`, `signals`, `gap`, `log`) and answers with the exit code. A
child is a whole `bench`: it ends as the interpreter ends.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
from pathlib import Path

from tests.kill.faults import Steps

LOADED = (
    "cv2", "faiss", "jinja2", "numpy", "pandas", "PIL.Image", "scipy.sparse", "sklearn.cluster", "torch",
    "bench.cli", "bench.runs.run", "bench.report.site", "bench.submission.export", "bench.pretrain.run",
    "bench.download.obtain", "bench.protocols.clustering.protocol", "bench.protocols.linear.protocol",
)  # fmt: skip
PATIENCE = 120
"""Seconds after which a command counts as hung: it prints where, and ends."""


def serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            become(job)
            return
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(code), flush=True)


def become(job) -> None:
    """Be a `bench` with these arguments in that folder. Raises SystemExit."""
    from bench.cli import main

    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(stream, target)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    os.chdir(job["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    steps = Steps(Path(job["folder"]), job["at"], job["signals"], job["gap"])
    steps.install(Path(job["log"]).with_suffix(".steps"))
    main(job["arguments"])


if __name__ == "__main__":
    serve()
