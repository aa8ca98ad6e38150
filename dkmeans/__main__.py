"""``python -m dkmeans``: the command."""

from dkmeans.command.main import main

if __name__ == "__main__":
    main()
