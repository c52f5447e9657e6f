"""Text safety data in the forms that people have it: files to rows, rows to labelled records."""
