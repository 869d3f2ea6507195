"""Environments of the production line, registered with gymnasium by importing this package."""

from __future__ import annotations

import gymnasium

from training.envs.line_speed import SHIFT, LineSpeed
from training.envs.tool_wear import STEPS, ToolWear

__all__ = ["LineSpeed", "ToolWear"]

gymnasium.register("ToolWear-v0", "training.envs.tool_wear:ToolWear", max_episode_steps=STEPS)
gymnasium.register("LineSpeed-v0", "training.envs.line_speed:LineSpeed", max_episode_steps=SHIFT)
