"""`perfopt backtest`: every policy of every type on the history of a source."""
