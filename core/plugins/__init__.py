"""The contracts that a plug-in fulfils, and their finding. Nothing here imports a plug-in but by name."""
