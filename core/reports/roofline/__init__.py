"""How near numbers come to what this machine can do: in words beside them, and drawn as a roofline."""
