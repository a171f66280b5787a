"""One folder for each inference engine. Engines import the contracts in core/plugins, never one another."""
