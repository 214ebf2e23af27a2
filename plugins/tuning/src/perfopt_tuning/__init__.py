"""Runtime knobs: by formula where physics decides, by safe search where only trying tells."""
