"""Readers: one module per dataset, root folder -> `Manifest`; none stops at a bad row or file."""
