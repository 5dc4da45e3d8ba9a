"""Cement followed in live pictures: what is seen of it, where it is in 3D, and how near it comes to what."""
