"""How much a key may do: calls a second, rows and feedback a day."""
