"""One folder per kind of connector, each holding one transport whole."""
