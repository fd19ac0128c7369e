"""The gate: what it asks, how it decides, what it writes down."""
