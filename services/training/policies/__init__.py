"""Policies and regrowths: when a model is retrained from feedback, and what must hold before it is promoted."""
