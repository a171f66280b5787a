"""What this machine is and what it can do: processors, memory, accelerators, published peaks, ports."""
