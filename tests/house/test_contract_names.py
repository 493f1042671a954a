"""Every name of the contract comes from where it is promised, also in an installation without extras."""

import importlib
import subprocess
import sys

import pytest

PROMISED = {
    "agent_pipeline": "Pipeline RunResult Document Artifact StageContext stage Usage",
    "agent_pipeline.llmhub": (
        "LLMHub RuntimeConfig ProviderConfig RoleConfig RoleDefaultsConfig ResolvedCall LLMMode CallContext CallResult "
        "load_runtime_config parse_runtime_config resolve_role "
        "LLMHubRuntimeError ConfigError UnknownRoleError UnknownProviderError EnvVarMissingError"
    ),
    "agent_pipeline.utils": "LLMPool LLMResponse LLMRequestError RuntimeConfig",
    "agent_pipeline.batch": (
        "LLMWorkItem WorkItemResult BatchResult BatchProcessor ParallelBatchProcessor BatchAPIProcessor "
        "ProcessorConfig MockAgent Middleware ProcessorObserver"
    ),
    "agent_pipeline.adapters": (
        "LLMAdapter OpenAIAdapter GeminiAdapter OpenRouterAdapter ClaudeCodeAdapter RunConfig BudgetTracker LLMError "
        "LLMBudgetExceededError"
    ),
}
EXTRAS = ("any_llm", "pydantic_ai", "anthropic", "httpx")
"""What an installation without extras does not have."""

WITHOUT_EXTRAS = f"""
import importlib, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.mark.parametrize("module", PROMISED)
def test_every_promised_name_is_there_and_listed(module: str) -> None:
    room = importlib.import_module(module)

    for name in PROMISED[module].split():
        assert getattr(room, name) is not None
        assert name in room.__all__
        assert name in dir(room)


def test_all_of_them_are_there_without_extras() -> None:
    """Nothing optional is imported on the way."""
    code = WITHOUT_EXTRAS + "".join(
        f"from {module} import {', '.join(names.split())}\n" for module, names in PROMISED.items()
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def test_using_a_provider_of_a_missing_extra_names_the_extra() -> None:
    code = WITHOUT_EXTRAS + (
        "from agent_pipeline.llmhub import LLMHub, parse_runtime_config\n"
        "role = {'provider': 'mistral', 'model': 'm'}\n"
        "config = {'project': 'p', 'env': 'e', 'providers': {'mistral': {}}, 'roles': {'r': role}}\n"
        "hub = LLMHub(config_obj=parse_runtime_config(config))\n"
        "try:\n"
        "    hub.completion('r', [{'role': 'user', 'content': 'x'}])\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert "ConfigError" in done.stdout
    assert "install agent-pipeline[providers] from where you have agent-pipeline" in done.stdout
    assert "pip install" not in done.stdout, "the package index has another agent-pipeline"
