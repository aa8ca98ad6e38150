"""One module per stage: a config in, an artefact on storage and a report of numbers out."""
