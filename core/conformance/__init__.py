"""What a backend must satisfy, how that is judged, and the certificate of it."""
