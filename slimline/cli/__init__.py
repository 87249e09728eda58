"""The command line: a file a subcommand, imported only when it is called."""
