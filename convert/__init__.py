"""The `convert` command and the pipeline that strings exporters and validators together."""
