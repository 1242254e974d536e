"""The gate that content passes before it leaves a draft."""
