"""Budgets and limits per minute of a whole run, lent to its workers."""
