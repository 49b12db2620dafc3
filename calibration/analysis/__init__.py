"""What quantization did to a network, layer by layer, measured on images that it was not calibrated on."""

from calibration.analysis.analysis import Analysis, LayerAnalysis, analyze
from calibration.analysis.proposal import Proposal

__all__ = ["Analysis", "LayerAnalysis", "Proposal", "analyze"]
