"""The command line `regrow`: everything over the public API, one module per noun."""
