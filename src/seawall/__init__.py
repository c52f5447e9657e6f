"""Seawall: make multimodal models refuse harm that arrives through an image or a video, with nothing but text safety data.

Each stage is one function: `prepare`, `synthesize`, `align`, `evaluate`, `report`.
"""

__version__ = "0.1.0"

from seawall.align import AlignConfig, Mixture, align
from seawall.builder import BuildConfig, build
from seawall.errors import SeawallError
from seawall.evaluate import EvaluateConfig, evaluate, rejudge
from seawall.models.families import Family, register_family, register_model
from seawall.models.media import Modality, register_modality
from seawall.prepare import PrepareConfig, prepare
from seawall.report import report
from seawall.synthesize import SynthesizeConfig, synthesize

__all__ = [
    "AlignConfig",
    "BuildConfig",
    "EvaluateConfig",
    "Family",
    "Mixture",
    "Modality",
    "PrepareConfig",
    "SeawallError",
    "SynthesizeConfig",
    "align",
    "build",
    "evaluate",
    "prepare",
    "register_family",
    "register_modality",
    "register_model",
    "rejudge",
    "report",
    "synthesize",
]
