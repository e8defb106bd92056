"""What several data sets share: files, lists, archives, pictures, loaders; imports no data set."""
