"""What DDTB (Zhong et al., ECCV 2022, arXiv 2203.03844) trains and chooses. The loop that trains is elsewhere.

Every trainable piece is ``frozen()`` into what an artifact stores.
"""

from calibration.ddtb.bounds import TrainableBounds
from calibration.ddtb.gate import TrainableGate
from calibration.ddtb.intensity import dynamic, intensities
from calibration.ddtb.placement import Placement, published
from calibration.ddtb.weights import WeightRounding

__all__ = [
    "Placement",
    "TrainableBounds",
    "TrainableGate",
    "WeightRounding",
    "dynamic",
    "intensities",
    "published",
]
