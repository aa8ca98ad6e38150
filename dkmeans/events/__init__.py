"""Progress and messages of a job while it runs."""
