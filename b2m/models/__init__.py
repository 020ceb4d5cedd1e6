"""One file per model; `layers.py` holds what they share. No model imports data."""

from b2m.models.animator import MotionAnimator, MotionAnimatorConfig
from b2m.models.blur_flow import BlurFlowNet, BlurFlowNetConfig
from b2m.models.decomposer import BlurDecomposer, BlurDecomposerConfig
from b2m.models.guidance_predictor import GuidancePredictor, GuidancePredictorConfig
from b2m.models.jin import JinSequence, JinSequenceConfig
from b2m.models.nafnet import NAFNet, NAFNetConfig
from b2m.models.video_restorer import VideoRestorer, VideoRestorerConfig

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
