"""Telegram: updates in, pushed to a webhook or polled; messages, files and buttons out.

Read ``settings``, ``updates`` (an update becomes a neutral event), ``ingress`` and ``views`` (pushed),
``polling`` and ``poller`` (polled), ``files``; then ``api`` (one call, judged), ``sender`` and ``parts``.
"""
