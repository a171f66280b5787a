"""The program: ``dlcompare``, ``python -m dlcompare``, or ``python -m dlcompare.core``."""

from .isolation import isolate


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    isolate()
    from .cli.main import main as run  # late: it imports packages that are not Python's own

    run()


if __name__ == "__main__":
    main()
