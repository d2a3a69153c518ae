"""TEMPORARY."""

from steadydecay.known_optimizers.decay_action import require_decoupled as require_decoupled
