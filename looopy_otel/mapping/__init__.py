"""Pure functions from a draft to span attributes, one module per dialect."""
