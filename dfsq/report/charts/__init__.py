"""Charts as inline SVG, one file per kind: plain sequences in, a :class:`~dfsq.report.section.Picture` out.

Colours are those of the page's style. Every mark tells its figures as a tooltip, every chart all of them as text.
"""
