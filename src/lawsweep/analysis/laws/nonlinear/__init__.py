"""Laws that are not linear in their exponents: one solver, profiles, a class a law."""
