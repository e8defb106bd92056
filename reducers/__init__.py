"""Token reduction methods, one a file; bound by name through conf/reducer/NAME.yaml."""
