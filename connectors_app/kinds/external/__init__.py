"""External connectors: a sidecar is a separate process that translates one platform.

It pushes events (``ingress``) and is called for its manifest, its health and each delivery (``protocol``,
``sender``). It runs somewhere else, or as a child of a worker (``supervision``), which then hands it a lease
on the credentials it may read (``leases``). The wire keeps the names and the Unix milliseconds of the
documented sidecar protocol, versions 1 and 2.
"""
