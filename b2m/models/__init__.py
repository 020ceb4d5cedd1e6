"""One file per model, with its config, network, loss and trainings; `layers.py` is what they share.

A file that is added here is imported, so that its `@register_model` is known. No model imports
data.
"""

from b2m.models.animator import MotionAnimator, MotionAnimatorConfig
from b2m.models.blur_flow import BlurFlowNet, BlurFlowNetConfig
from b2m.models.decomposer import BlurDecomposer, BlurDecomposerConfig
from b2m.models.guidance_predictor import GuidancePredictor, GuidancePredictorConfig
from b2m.models.jin import JinSequence, JinSequenceConfig
from b2m.models.nafnet import NAFNet, NAFNetConfig
from b2m.models.video_restorer import VideoRestorer, VideoRestorerConfig
from b2m.registry import import_all

__all__ = [
    "BlurDecomposer",
    "BlurDecomposerConfig",
    "BlurFlowNet",
    "BlurFlowNetConfig",
    "GuidancePredictor",
    "GuidancePredictorConfig",
    "JinSequence",
    "JinSequenceConfig",
    "MotionAnimator",
    "MotionAnimatorConfig",
    "NAFNet",
    "NAFNetConfig",
    "VideoRestorer",
    "VideoRestorerConfig",
]

import_all("b2m.models")
