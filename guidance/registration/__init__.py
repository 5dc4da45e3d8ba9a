"""Where the volume is seen: 2D/3D registration of pictures to it, 3D/3D of another volume."""
