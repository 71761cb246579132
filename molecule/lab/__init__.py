"""A lab of real systemd nodes on one machine, for the demo and for every molecule scenario."""
