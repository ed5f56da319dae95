"""API keys: who a caller is, and what the key may do."""
