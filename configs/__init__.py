"""One YAML file per published variant. Data only."""
