"""Expressions over params: parsed, checked, evaluated over whole columns."""
