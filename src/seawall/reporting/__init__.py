"""Stage 5: results on disk -> tables, figures and report pages."""
