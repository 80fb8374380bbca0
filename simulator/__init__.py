"""A CRM with known truth: leads, touches and outcomes from a model whose probabilities are closed-form."""

from simulator.config import Drift, SimulationConfig
from simulator.generate import Chunk, simulate

__all__ = ["Chunk", "Drift", "SimulationConfig", "simulate"]
