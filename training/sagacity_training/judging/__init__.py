"""How good forecasts are on rows they have not seen, and whether that is enough to use them."""
