"""Where a cluster is: here, or at the address of its head; whether anybody listens there."""

import socket

from agent_pipeline.errors import ConfigError

LOCAL, AUTO = "local", "auto"
"""Addresses: a cluster of our own on this machine; the one that this machine belongs to."""

ANSWER_TIMEOUT = 10.0
"""Seconds for which the head of a cluster may let wait."""


def check_answers(address: str) -> None:
    """See that somebody listens at an address of a head, which is all that is asked; Ray itself would try for minutes.

    Blocks for `ANSWER_TIMEOUT` seconds at most, where the address is no head's not at all.

    Raises:
        ConfigError: nobody does.
    """
    if address in {LOCAL, AUTO}:
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT):
            pass
    except (OSError, ValueError) as exc:
        raise ConfigError(nobody_at(address, getattr(exc, "strerror", None) or str(exc)), key="engine.address") from exc


def nobody_at(address: str, why: str = "") -> str:
    """Return what is said of an address at which there is no cluster."""
    where = "here" if address == AUTO else f"at {address}"
    advice = "start one (`ray start --head`), or take `local`, which starts one for this run"
    return f"there is no Ray cluster {where}{f' ({why})' if why else ''}; {advice}"
