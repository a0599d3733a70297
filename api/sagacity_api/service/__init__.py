"""The HTTP service: `create_app` builds it from injected parts; it never trains and keeps nothing."""

from sagacity_api.service.app import create_app
from sagacity_api.service.desk import CounselSlot, Limits

__all__ = ["CounselSlot", "Limits", "create_app"]
