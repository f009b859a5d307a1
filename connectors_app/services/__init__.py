"""The rules of connectors, which know a kind only by ``registry``.

Read ``contracts``; the way in: ``ingress``, ``resolution``; the way out: ``reply_targets``, ``handles``,
``deliveries``, ``notices``; what people do in chats: ``identities``, ``chat_actions``; then ``observations``.
"""
