"""Predictive quantiles of one series over a horizon. Pure, numpy only."""

from perfopt.forecast.quantiles import weighted_quantiles
from perfopt.forecast.seasonal import DEFAULT_LEVELS, forecast_metric

__all__ = ["DEFAULT_LEVELS", "forecast_metric", "weighted_quantiles"]
