"""What is recorded of a launch, and its sign of life."""
