"""Stage 5: results -> tables, figures and pages."""
