"""The fast decoder: a hand-written step for models of the Llama shape, used only where a probe proves it equal."""

from strop.sampling.decoder.decoder import FastDecoder
from strop.sampling.decoder.probing import probe

__all__ = ["FastDecoder", "probe"]
