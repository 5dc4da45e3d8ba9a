"""Instruments found in the live picture, and in 3D from two of them."""
