"""One file a family of models; each names its `Host` as HOST."""
