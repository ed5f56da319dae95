"""Problem specs: what is predicted, checked against the data set that it is about."""
