"""A worker as a process of its own, tuned as that of a local run is."""

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.process import raise_descriptor_limit, slim_log_records
from agent_pipeline.compose.worker import work
from agent_pipeline.engines.link import WorkerEnd
from agent_pipeline.engines.messages import WorkerPlan


async def work_in_own_process(plan: WorkerPlan, link: WorkerEnd) -> None:
    """Be a worker's main function where nothing else goes on in its process."""
    raise_descriptor_limit()
    slim_log_records()
    await work(plan, link, options=RunOptions(own_process=True))
