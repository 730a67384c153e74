"""The twin's chart controller: what Flux, Argo CD and k3s' Helm controller would do, without any chart.

A release is "installed" by applying the definitions of the chart's custom resources (read from pinned Go modules when
they are needed), the objects that the chart makes of its values where others build on them, and placeholder workloads
that kwok makes ready. Its status, conditions and events are those of the real controllers.
"""
