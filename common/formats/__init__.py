"""What others wrote: the published code's weights and flags files, diffusers' folders, OpenAI's checkpoints.

Read safely, checked, refused by name. Each ends in this project's own objects; nothing here trains, attacks or decides.
"""
