"""First-order training of fully connected networks."""
