"""Laws of inputs and targets."""
