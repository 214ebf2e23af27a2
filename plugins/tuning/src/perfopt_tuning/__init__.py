"""Runtime knobs: by formula, and by safe search where no formula decides."""
