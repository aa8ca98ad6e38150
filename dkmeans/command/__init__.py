"""The ``dkmeans`` command: every stage and study under one name, and job files."""
