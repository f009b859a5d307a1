"""One module per noun; each gives its rows of the parser table as `COMMANDS`."""
