"""Every rule and every transaction: verbs that the engine, the API, the console and the commands share.

| subject | modules |
|---|---|
| runs | ``runs``, ``inputs``, ``routing``, ``run_state``, ``leases``, ``writes``, ``journal``, ``effects`` |
| people | ``waiting`` (what they share), ``approvals``, ``questions``, ``decisions``, ``grants`` |
| workers | ``worker``, ``heartbeat``, ``recovery``, ``doorbell``, ``retention`` |
| evidence | ``external_actions``, ``audit``, ``run_export`` |
| views | ``projections``, ``events``, ``why``, ``status``, ``search`` |
| apps above | ``ports`` |
"""
