"""What all pages with pictures are made of: parts of SVG, and the page around them."""
