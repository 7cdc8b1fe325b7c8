"""What everything else stands on: errors, validated YAML, devices, processes, named random draws, files, paths.

Nothing here knows about membership, diffusion or defences, and nothing here imports another package of ours.
"""
