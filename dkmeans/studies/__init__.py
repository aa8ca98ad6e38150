"""Studies: stages put together, and the page that shows what they found."""
