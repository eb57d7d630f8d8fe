"""Who is told of what, and how: digests, the channels that carry them, and the outbox between the two.

What is significant is the business of `core.significance`; what changed, of `pipeline`.
"""
