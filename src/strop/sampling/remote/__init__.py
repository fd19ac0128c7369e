"""Servers as samplers: any that speaks the OpenAI API, and vLLM with its weights and adapters."""

from strop.sampling.remote.chat import ChatAnswer
from strop.sampling.remote.sampler import RemoteSampler
from strop.sampling.remote.transport import Traffic
from strop.sampling.remote.vllm import VllmSampler

__all__ = ["ChatAnswer", "RemoteSampler", "Traffic", "VllmSampler"]
