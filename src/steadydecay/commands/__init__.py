"""The subcommands of `steadydecay`, each a typed dataclass with a method `run`."""
