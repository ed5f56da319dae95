"""Human labels: which row to look at next, the answer, the undo, how far it is."""
