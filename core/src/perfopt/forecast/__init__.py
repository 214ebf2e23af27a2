"""Predictive quantiles of series over a horizon, and what changed in their history. Pure, numpy only."""

from perfopt.forecast.changes import HistoryChanges, LevelShift, find_changes
from perfopt.forecast.interface import (
    BUILT_IN,
    InstalledForecasters,
    forecast_batch,
    forecast_metric,
    forecast_series,
)
from perfopt.forecast.local_time import LocalClock, likely_clocks
from perfopt.forecast.quantiles import weighted_quantiles
from perfopt.forecast.sessions import calendar_of, exchange_sessions
from perfopt.plugin.calendar import SessionCalendar
from perfopt.plugin.forecasting import (
    DEFAULT_LEVELS,
    CostClass,
    Forecast,
    Forecaster,
    ForecastRequest,
    Prediction,
)

__all__ = [
    "BUILT_IN",
    "DEFAULT_LEVELS",
    "CostClass",
    "Forecast",
    "ForecastRequest",
    "Forecaster",
    "HistoryChanges",
    "InstalledForecasters",
    "LevelShift",
    "LocalClock",
    "Prediction",
    "SessionCalendar",
    "calendar_of",
    "exchange_sessions",
    "find_changes",
    "forecast_batch",
    "forecast_metric",
    "forecast_series",
    "likely_clocks",
    "weighted_quantiles",
]

# Older names, read until the next minor version.
Changes = HistoryChanges
