"""Experiments that declare nothing: plain functions, and metrics learnt from the rows."""
