"""`python -m convert`, and where the `convert` script begins."""


def main() -> None:
    """Run the command; an interruption while it is still being imported ends as quietly as any later one."""
    try:
        from convert.cli import run_app

        run_app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
