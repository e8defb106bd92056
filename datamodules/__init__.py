"""Data sets, one a file. Each is a LightningDataModule with `num_classes` and `adapt(data_config)`."""

from datamodules.io.moved import serve_old_imports

serve_old_imports()
