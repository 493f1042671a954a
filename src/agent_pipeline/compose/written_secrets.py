"""No secret in a config file: a run keeps a copy of it."""

from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.errors import ConfigError
from agent_pipeline.gateway.endpoints import secrets_of


def refuse_written_secrets(config: PipelineConfig) -> None:
    """Refuse config files with a secret of the environment anywhere in them, a comment included.

    Raises:
        ConfigError: the file is named, the secret is not repeated.
    """
    secrets = secrets_of(config.runtime)
    for path, text in ((config.path, config.text), (config.roles, config.roles_text)):
        if secrets.holds(text):
            problem = "a key from the environment is written in this file; take it out: a run keeps a copy of the file"
            raise ConfigError(problem, place=str(path))
