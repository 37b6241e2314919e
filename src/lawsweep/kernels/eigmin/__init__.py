"""The smallest eigenvalue, with its evidence."""
