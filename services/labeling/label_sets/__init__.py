"""Label sets: the ledger's votes on a data set version, aggregated at one moment, immutable."""
