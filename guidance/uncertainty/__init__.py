"""How far what is drawn may be off: covariances carried through to the picture."""
