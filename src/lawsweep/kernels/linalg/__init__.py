"""Factorisations and iterations on symmetric operators."""
