"""What is drawn on a frame: pure description and its rendering."""
