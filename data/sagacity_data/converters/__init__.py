from sagacity_data.converters.asl import convert_asl
from sagacity_data.converters.conductor import convert_conductor
from sagacity_data.converters.converted import Converted, ConvertRefused

__all__ = ["ConvertRefused", "Converted", "convert_asl", "convert_conductor"]
