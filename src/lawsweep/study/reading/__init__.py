"""What is made of a study's rows: tables, fits, figures, a page, files for others."""
