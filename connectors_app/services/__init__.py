"""The rules of connectors; they reach a kind only through ``registry``.

Read ``contracts``; inbound: ``ingress``, ``resolution``; outbound: ``reply_targets``, ``handles``,
``deliveries``, ``notices``; decisions in chats: ``identities``, ``chat_actions``; then ``observations``.
"""
