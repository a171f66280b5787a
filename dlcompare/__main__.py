"""``python -m dlcompare``: the command line, for where the console script is not on PATH."""

from dlcompare.core.__main__ import main

if __name__ == "__main__":
    main()
