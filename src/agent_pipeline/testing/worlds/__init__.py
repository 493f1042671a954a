"""Simulated worlds: the whole pipeline in virtual time, against a provider whose faults come from one seed."""
