"""The neural tangent kernel: Gram matrix, Jacobian, rank, limits."""
