"""``python -m dkmeans``: the command."""

from dkmeans.command.start import main

if __name__ == "__main__":
    main()
