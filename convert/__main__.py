"""`python -m convert`, and where the `convert` script begins."""

import gc
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command; an interruption while it is still being imported ends as quietly as any later one."""
    # Tracing makes millions of small objects, nearly all of which stay: looking through them for garbage as often as
    # Python does by default is a tenth of the time of `convert recipe`.
    gc.set_threshold(100_000, 50, 50)
    code: object = 0
    try:
        from convert.cli import run_app

        run_app()
    except KeyboardInterrupt:
        code = 130
    except SystemExit as stop:
        code = stop.code or 0
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 1
    # All is written and closed by now, and workers end with this process. Taking the objects apart one by one, which
    # Python does otherwise, takes seconds.
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
