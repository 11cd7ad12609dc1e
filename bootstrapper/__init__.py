"""A bare-metal bootstrapper: one YAML file describes a rack, `bootstrapper serve` brings it up."""

__version__ = "0.1.0"
