"""Where images come from, and which sample plays which part. Here lives what decides who is a member.

Sources end in raw uint8 images; the partition is index arithmetic. No network, no attack and no defence.
"""
