"""What token reduction did to an image: pictures, the order of merging, and the interactive page."""
