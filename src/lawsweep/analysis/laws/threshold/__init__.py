"""Where an event stops happening along an axis: the model, and what rows and searches say of it."""
