"""One frozen, validated model of options for each stage and study.

The fields are the options of the command line and the keys of a job file: ``--max-iter 10`` is
``max_iter = 10``. A value that does not fit, or a key that does not exist, is a `UsageError` that names
it, what was expected, and the nearest key that exists.
"""
