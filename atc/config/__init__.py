"""From a composed configuration to one that can be built: every value checked before anything is imported for it."""
