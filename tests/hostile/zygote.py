"""Runs the command again and again without importing PyTorch each time, and says what each run took.

`python -m tests.hostile.zygote [MODULE ...]` imports these too, and forks for each request, a line of JSON on its
standard input: the words of the command and the two files for what it prints. It answers with two lines, its number
and how it ended.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    for name in ("convert.pipeline", "recipes.base.audio", "recipes.base.weights", *sys.argv[1:]):
        import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.monotonic()
        process = os.fork()
        if process == 0:
            _become(request)
        _say({"process": process})
        _, status, usage = os.wait4(process, 0)
        # The peak of the largest among it and the workers that it has waited for; in bytes on macOS.
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        code = os.waitstatus_to_exitcode(status)
        _say({"exit_code": code, "seconds": time.monotonic() - begun, "peak": peak})


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _become(request: dict[str, Any]) -> None:
    import torch

    from convert.__main__ import main as command

    # The threads of its pool were not forked.
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for end, path in ((1, request["stdout"]), (2, request["stderr"])):
        os.dup2(os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), end)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(end, mode, 1, errors="backslashreplace") for end, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    sys.argv = ["convert", *request["words"]]
    command()


if __name__ == "__main__":
    main()
