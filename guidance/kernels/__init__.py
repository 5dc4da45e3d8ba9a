"""The native core's documented face; `reference` is the specification of each kernel in NumPy."""
