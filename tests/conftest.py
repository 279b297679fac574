"""Its place puts this folder on the path, so that every test finds `closed_forms` and the like."""
