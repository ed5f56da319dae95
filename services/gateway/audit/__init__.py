"""The audit log: who changed what, kept before the call is answered, listed, and told on a topic."""
