"""YAML and JSON to checked values: roles, pipelines, prices and keys; the only place that knows YAML."""
