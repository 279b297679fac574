"""Findings as pages: every number with its interval and where it comes from, beside the videos."""
