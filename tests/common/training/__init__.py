"""A training that counts its rounds."""

import torch
from torch import nn

from common.runtime import checkpoints
from common.training.jobs import Job
from common.training.loop import run_rounds
from tests.common.defenses import provenance


def job_at(folder, **made_from):
    return Job(folder / "classifier.pth.tar", provenance(**made_from))


def scored_run(job, scores, *, stop_in=None, rounds=None):
    """A training that counts its rounds, each with its score; a user interrupts it in round ``stop_in``."""
    counter = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(counter.weight)
    played = []

    def train_round(index, bar):
        played.append(index)
        with torch.no_grad():
            counter.weight += 1
        bar.update()
        return {"loss": 1 / (index + 1)}

    def score():
        if played[-1] == stop_in:
            raise KeyboardInterrupt
        return scores[played[-1]]

    run_rounds(
        job,
        seed=0,
        rounds=rounds or len(scores),
        steps_per_round=1,
        stateful={"counter": counter},
        train_round=train_round,
        score=score if scores else None,
        kept=lambda: {"weight": counter.weight},
    )
    return checkpoints.read(job.path, expect={}).content, played
