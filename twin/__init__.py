"""The local twin: one site of machines, control plane and mesh on one computer's loopback addresses, without root."""
