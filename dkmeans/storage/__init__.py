"""From a URL to bytes: stores, objects, and arrays of rows; the only room that imports zarr and obstore."""
