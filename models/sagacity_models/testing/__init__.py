"""What every forecaster of classes must pass, for ours and for anybody's."""

from sagacity_models.testing.forecaster_checks import CheckRows, ForecasterChecks

__all__ = ["CheckRows", "ForecasterChecks"]
