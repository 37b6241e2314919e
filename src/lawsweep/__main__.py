"""``python -m lawsweep`` is the ``lawsweep`` command."""

from lawsweep.cli.main import main

if __name__ == "__main__":
    main()
