"""Does each picture show what its geometry claims: measured frame by frame against the volume."""
