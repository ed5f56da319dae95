"""Keeps projects, models, versions and aliases, tells others what changed, and hands out artifacts by digest."""
