"""One self-contained HTML page of pictures and figures from results of compress and reconstruct.

`facts` gathers every number from what lies in storage, `figures` draws the pictures, `page` puts both
into the template ``page.html``.
"""
