"""Keep and hand on."""
