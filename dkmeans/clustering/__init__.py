"""The loop across workers: seeds, Lloyd iterations, labels of a whole dataset."""
