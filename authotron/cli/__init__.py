"""The command line of authotron: the command C{authotron} and its subcommands."""
