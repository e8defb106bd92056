"""Data sets, one a file. Each is a LightningDataModule with `num_classes` and `adapt(data_config)`."""
