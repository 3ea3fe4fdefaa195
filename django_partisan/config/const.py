"""The strategies for the pause before each retry."""

from typing import Final

DELAY_STRATEGY_CONSTANT: Final = "constant"
"""Wait ``retry_pause`` seconds before every retry."""

DELAY_STRATEGY_INCREMENTAL: Final = "incremental"
"""Lengthen the pause by ``retry_pause`` seconds with each retry."""

DELAY_STRATEGY_EXPONENTIAL: Final = "exponential"
"""Double the pause with each retry."""

DELAY_STRATEGIES: Final = (DELAY_STRATEGY_CONSTANT, DELAY_STRATEGY_INCREMENTAL, DELAY_STRATEGY_EXPONENTIAL)
