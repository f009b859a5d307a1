"""Slack: signed events and clicks in, messages, files and buttons out.

Read ``settings``, ``events`` (an envelope becomes a neutral event), ``ingress``, ``files``, ``interactive``;
then ``web`` (one call of the API, judged), ``sender`` and ``probe`` (no message twice), ``blocks`` and
``mrkdwn``.
"""
