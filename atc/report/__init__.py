"""Tables, figures and pages from the records of runs (those of `atc.runs`)."""
