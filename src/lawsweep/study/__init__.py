"""A sweep opened on its table, and its verbs."""
