"""A browser's driver, for as long as the process that started this one lives; a script, which imports nothing else.

Workers are killed, and could not end a browser themselves. Both write into a folder that goes with them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from urllib.request import ProxyHandler, build_opener

_READY = "started successfully on port "
_SECONDS = 10


def main(driver: str) -> None:
    """Starts it and says its port; ends it, and the browser that it has started, once standard input is shut."""
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as home:
        moved = dict.fromkeys(("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), home)
        process = subprocess.Popen(
            [driver, "--port=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **moved},
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        port = next((line.rpartition(_READY)[2].strip(" .\n") for line in process.stdout if _READY in line), "")
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()
        try:
            # Asked to, it ends the browser first, and leaves no process without a parent.
            with contextlib.suppress(OSError):
                build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/shutdown", timeout=_SECONDS).close()
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    main(sys.argv[1])
