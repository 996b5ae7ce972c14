"""`python -m convert`, and where the `convert` script begins."""

import gc


def main() -> None:
    """Run the command; an interruption while it is still being imported ends as quietly as any later one."""
    # Tracing makes millions of small objects, nearly all of which stay: looking through them for garbage as often as
    # Python does by default, and once more at the end of the process, is a sixth of the time of `convert recipe`.
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        from convert.cli import run_app

        run_app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        gc.set_threshold(*usual)
        gc.freeze()


if __name__ == "__main__":
    main()
