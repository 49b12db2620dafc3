"""Every other architecture, through spandrel (the extra ``dfsq[zoo]``)."""
