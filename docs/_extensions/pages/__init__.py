"""The pages that are generated: one for each method, one for each table and figure, and the table of methods."""
