"""The `dkmeans` command as a process that can be asked for its stacks, and so can its workers."""

import signal

import stacks  # noqa: F401

if __name__ == "__main__":
    # A shell's background jobs ignore SIGINT, and so would their children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from dkmeans.command.main import main

    main()
