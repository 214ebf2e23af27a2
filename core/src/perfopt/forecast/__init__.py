"""Predictive quantiles of series over a horizon, and what changed in their history. Pure, numpy only."""

from perfopt.forecast.changes import Changes, LevelShift, find_changes
from perfopt.forecast.interface import DEFAULT_LEVELS, forecast_batch, forecast_metric
from perfopt.forecast.quantiles import weighted_quantiles
from perfopt.forecast.sessions import SessionCalendar, calendar_of, exchange_sessions

__all__ = [
    "DEFAULT_LEVELS",
    "Changes",
    "LevelShift",
    "SessionCalendar",
    "calendar_of",
    "exchange_sessions",
    "find_changes",
    "forecast_batch",
    "forecast_metric",
    "weighted_quantiles",
]
