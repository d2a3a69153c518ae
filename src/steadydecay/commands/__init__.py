"""The subcommands of `steadydecay`: a typed dataclass each, with a method `run`."""
