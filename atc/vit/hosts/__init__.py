"""One file or folder a family of models; each names its `Host` as HOST."""
