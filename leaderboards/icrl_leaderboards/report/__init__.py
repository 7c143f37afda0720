"""The report: a Markdown page and one self-contained HTML page."""
