"""Loading, the forward engine, heads, adapters."""
