"""What a user submits: one file per job, each with ``main(argv=None)``; together the ``dkmeans`` command."""
