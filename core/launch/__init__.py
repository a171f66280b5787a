"""Start, watch and end the processes of one job, and say why one failed; both ends of that wire. No measuring."""
