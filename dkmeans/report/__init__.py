"""Self-contained HTML pages of pictures and figures: of results, and of studies.

`page` makes one from results of compress and reconstruct: `facts` gathers every number from what lies in
storage, ``page.html`` shows it. `study` makes one from a study, whose texts refer to its numbers
(`references`). `figures` draws pictures made of pixels and `plots` curves, bars and histograms;
``base.html`` is what both pages have in common.
"""
