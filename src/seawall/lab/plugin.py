"""Registers what the laboratory adds to Seawall: models, benchmark, judge and report pages. Found through the entry point `lab`."""

from __future__ import annotations

from seawall.lab.organisms import ORGANISMS, find_organism
from seawall.models.families import register_model

for _name in ORGANISMS:
    register_model(f"organism:{_name}", find_organism(_name))
