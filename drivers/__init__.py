"""Imperative shell: all input and output, no decisions."""
