"""Self-contained HTML pages of pictures and figures: of results, and of studies.

`page` makes one from results of compress, reconstruct and quantize: `gathering` takes every number from what
lies in storage, `files` the table of all images, `sections` draws, ``page.html`` shows it. `study` makes one
from a study, whose texts refer to its numbers (`references`). `figures` draws pictures made of pixels and
`plots` curves, bars and histograms. ``base.html`` is what both pages have in common, with the style sheets
and the scripts of ``assets/``: each script adds one thing to play with.
"""
