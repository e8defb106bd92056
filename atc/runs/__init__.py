"""What one run leaves: its record, its identity, its directory, its place in the results store."""
