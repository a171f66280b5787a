"""A backend held against the float64 reference, judged, and certified."""
