"""How the datasets of this field lie on disk, a module per layout, and what can be wrong there."""
