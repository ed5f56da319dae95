"""The training service: designs, runs, and the models that they make. The only service that imports torch."""
